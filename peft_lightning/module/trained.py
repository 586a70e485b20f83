"""What a run's directory says of the model that it trained: settings, weights and task, and the module of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.errors import UserError
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.directory import checkpoint_of
from peft_lightning.task import Task, problem_type_in, task_named
from peft_lightning.task.calibration import Calibration

if TYPE_CHECKING:
    from peft_lightning.module.classifier import TextClassifier

# The entry of a checkpoint's own section.
CALIBRATION = "calibration"


@dataclass(frozen=True)
class TrainedRun:
    """What is needed to answer with a run's model.

    Args:
        model: The section ``model`` of its configuration.
        checkpoint: What the checkpoint holds.
        task: What it was trained for.
        texts: How it read its texts.
    """

    model: Config
    checkpoint: dict[str, Any]
    task: Task
    texts: TextSettings


def read_trained(run: Path, checkpoint: str) -> TrainedRun:
    """Reads a run's configuration and one of its checkpoints.

    Args:
        run: The run's directory.
        checkpoint: ``best``, ``last``, or a file.

    Raises:
        UserError: The directory holds no run, or the checkpoint cannot be read.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} holds no run (config.yaml): name a run, such as lightning_logs/lora/version_0")
    config = read_config(path)
    weights = checkpoint_of(run, checkpoint) if checkpoint in ("best", "last") else Path(checkpoint)
    content = read_checkpoint(weights)
    return TrainedRun(config["model"], content, task_in_checkpoint(content, weights), TextSettings.of(config))


def load_module(kind: type[TextClassifier], run: Path, checkpoint: str, plain: bool) -> TextClassifier:
    """Loads the model that a run has trained.

    Args:
        kind: The class of the module.
        run: The run's directory.
        checkpoint: ``best``, ``last``, or a file.
        plain: Whether packed and narrow weights become 32-bit floats of the same values.

    Returns:
        The module on the CPU, in evaluation mode.

    Raises:
        UserError: There is no such run or checkpoint, or the backbone is not the run's.
    """
    from jsonargparse import ArgumentParser

    trained = read_trained(run, checkpoint)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model")
    module: TextClassifier = parser.instantiate(parser.parse_object({"model": trained.model})).model
    precision = trained.texts.precision
    module.quantize_on = "cpu"  # where it is built
    module.build(trained.task, precision, plain=plain)
    module.on_load_checkpoint(trained.checkpoint)
    module.load_state_dict(trained.checkpoint["state_dict"], strict=False)
    if precision.endswith("-true") and not plain:
        module.to(compute_dtype(precision))
    module.text_settings = trained.texts
    return module.eval()


def calibration_in(checkpoint: Mapping[str, Any]) -> Calibration | None:
    """Returns what was fitted on the answers of a checkpoint's weights; None if nothing was.

    Args:
        checkpoint: What the checkpoint holds.

    Raises:
        KeyError: If it holds it in part.
    """
    kept = checkpoint["peft_lightning"].get(CALIBRATION)
    return None if kept is None else Calibration.from_state(kept)


def task_in_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> Task:
    """Returns the task that a checkpoint was trained for, with what was fitted on its answers.

    Args:
        checkpoint: What the checkpoint holds.
        path: Its file, for the error.

    Raises:
        UserError: It does not say so.
    """
    state = checkpoint["peft_lightning"]
    try:
        task = task_named(problem_type_in(state)).from_state(state)
        return task.calibrated(calibration_in(checkpoint))
    except KeyError as error:
        raise UserError(
            f"{path} does not say which classes it was trained on: use best.ckpt or last.ckpt of a run"
        ) from error
