"""What a command's Trainer has beside its settings: callbacks, loggers, checkpoint files, the strategy of an engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger

from peft_lightning.callbacks.prediction_progress import PredictionProgress
from peft_lightning.callbacks.progress_bar import progress_shown
from peft_lightning.commands.command import Command
from peft_lightning.commands.processes import sharing_rows, starting_its_own
from peft_lightning.engine.devices import devices_of
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.strategies import hosting_strategy
from peft_lightning.runs.background_io import BackgroundCheckpointIO
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO


def trainer_parts(
    command: Command, settings: Mapping[str, Any], stopping: Sequence[Callback], engine: EngineName
) -> dict[str, Any]:
    """Returns the Trainer's arguments that take the place of its settings.

    Args:
        command: The command.
        settings: The ``trainer`` section of the configuration.
        stopping: What stops a training early.
        engine: The engine that the user asked for.
    """
    predicts = command.word == "predict"
    # How a run was spread over devices for its training is no matter of its answers.
    changed = sharing_rows(settings) if predicts else {}
    accelerator, devices, nodes, strategy = (
        {**settings, **changed}[name] for name in ("accelerator", "devices", "num_nodes", "strategy")
    )
    found = devices_of(accelerator, devices)
    # On a CPU, the thread and the copy would use the time and the memory that the run measures.
    on_gpu = len(found) * nodes == 1 and found[0].type == "cuda"
    callbacks = _callbacks(command, settings, stopping)
    own = [logger for logger in _as_list(settings["logger"]) if isinstance(logger, Logger)]
    hosting = hosting_strategy(strategy, found, engine, nodes)
    return {
        **changed,
        **({"strategy": hosting} if hosting is not None else {}),
        "callbacks": callbacks,
        # Lightning's ModelCheckpoint writes where the first logger does: in the run's directory.
        "logger": [*command.loggers(), *([] if predicts else own)] or False,
        "plugins": [
            *_as_list(settings["plugins"]),
            BackgroundCheckpointIO() if on_gpu else AtomicCheckpointIO(),
            *starting_its_own(len(found) if nodes == 1 else 1),
        ],
    }


def _callbacks(command: Command, settings: Mapping[str, Any], stopping: Sequence[Callback]) -> list[Callback]:
    """Returns the user's callbacks, the command's, and those that show how far it is."""
    callbacks = [*_as_list(settings["callbacks"]), *command.callbacks()]
    shows = settings["enable_progress_bar"] is not False
    if command.word == "fit":
        callbacks = [*stopping, *callbacks]
        callbacks += progress_shown(callbacks) if shows else []
    elif command.word == "predict" and shows and not any(isinstance(given, ProgressBar) for given in callbacks):
        callbacks.append(PredictionProgress())
    return callbacks


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
