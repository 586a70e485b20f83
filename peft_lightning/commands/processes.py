"""The processes of a run on several devices, each of which runs the whole command.

Lightning starts them (``--trainer.devices``), or a launcher does: torchrun, or srun in a job of SLURM's.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, Signals
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from peft_lightning.commands.launchers import PATIENCE_S, launch
from peft_lightning.engine.sharding import is_sharded
from peft_lightning.errors import Part, Setting, UserError

# The environment variable with the run's directory. Lightning starts the processes of further GPUs with this process's
# environment, so they join its run.
SHARED_RUN = "PEFT_LIGHTNING_RUN_DIR"


def launched_processes(trainer: Trainer) -> int | None:
    """Returns how many processes a launcher has started for a run; None where it is one, or the run starts its own.

    Args:
        trainer: The Trainer.
    """
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, LightningEnvironment) or environment.world_size() == 1:
        return None
    return environment.world_size()


def starting_its_own(processes: int) -> list[LightningEnvironment]:
    """Returns what has a run start its processes itself inside a job of SLURM's that is one task.

    Lightning would take the task for all of them: a run on two devices trained on one, without a word.

    Args:
        processes: How many the run wants on this machine.
    """
    is_one_task = SLURMEnvironment.detect() and SLURMEnvironment().world_size() == 1
    return [LightningEnvironment()] if is_one_task and processes > 1 else []


def only_forward_sigterm(trainer: Trainer) -> None:
    """Has SIGTERM end a run's processes without a word between them.

    Lightning's handler also broadcasts, between whichever collectives the signal has interrupted: two processes that
    are asked to stop at the same time then wait for each other until the timeout of half an hour. And before each batch
    Lightning has the first process say whether it was asked, and reads that back: a processor that waits for the GPU at
    every step cannot prepare the next one meanwhile. Whoever sends the signal, or this handler, sends it to all.

    Args:
        trainer: The Trainer, which has not started yet.
    """
    connector = trainer._signal_connector

    def forward(number: int, frame: FrameType | None) -> None:
        launcher = trainer.strategy.launcher
        if launcher is not None and not connector.received_sigterm:
            launcher.kill(number)
        connector.received_sigterm = True

    connector._sigterm_notifier_fn = forward  # type: ignore[method-assign, assignment]
    epochs: Any = trainer.fit_loop.epoch_loop
    if hasattr(epochs, "_broadcast_sigterm_tensor"):  # since Lightning 2.6
        epochs._broadcast_sigterm_tensor = lambda: None


@contextmanager
def first_one_speaks() -> Iterator[None]:
    """Lets the first of a launcher's processes say what is wrong; the launcher then ends the others.

    Raises:
        UserError: What was raised inside.
    """
    try:
        yield
    except UserError:
        if (found := launch()) is not None and found.rank > 0:
            time.sleep(PATIENCE_S)
        raise


def share_run(trainer: Trainer, path: Path) -> None:
    """Tells the other processes the directory that the first has made or opened.

    Args:
        trainer: The Trainer, in the first process.
        path: The directory.
    """
    os.environ[SHARED_RUN] = str(path)
    _meet(trainer, str(path.resolve()))


def shared_run(trainer: Trainer) -> Path:
    """Returns the directory that the first process has made or opened.

    Args:
        trainer: The Trainer, in another process.

    Raises:
        UserError: If it is not to be found on this machine.
    """
    path = Path(_meet(trainer, "") or os.environ[SHARED_RUN])
    if not path.is_dir():
        raise UserError(
            f"the run's folder {path} is not on this machine, and its processes share one: start the run in a folder"
            " that all machines see, or name one with ",
            Setting("trainer.default_root_dir"),
        )
    return path


def _meet(trainer: Trainer, said: str) -> str:
    """Returns what the first of a launcher's processes says; nothing where the run starts its own afterwards."""
    if launched_processes(trainer) is None:
        return ""
    trainer.strategy.setup_environment()
    heard: str = trainer.strategy.broadcast(said)
    return heard


def sharing_rows(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of the Trainer with which ``predict`` runs: on one host, a whole model on each of its devices.

    A model that was sharded need not fit one device, and is sharded again.

    Args:
        settings: The ``trainer`` section of a configuration.
    """
    devices = settings["devices"]
    if isinstance(devices, str) and "," in devices:
        devices = [int(number) for number in devices.split(",") if number.strip()]
    strategy = settings["strategy"] if is_sharded(settings["strategy"]) else "auto"
    return {"devices": devices, "num_nodes": 1, "strategy": strategy}


@contextmanager
def ending_its_processes(trainer: Trainer, then: Sequence[Part] = ("run it again",)) -> Iterator[None]:
    """Ends a run's further processes where this one fails: they would wait for it, on GPUs for half an hour.

    The other way round, Lightning ends this process within five seconds of a failure of another.

    Args:
        trainer: The Trainer, which starts the processes when it trains.
        then: What there is to do once the cause is mended.

    Raises:
        UserError: Another process has failed, and this one only because of that.
    """
    launcher = trainer.strategy.launcher
    try:
        yield
    except UserError:
        if not trainer.is_global_zero:
            # The first process usually has the same error, says it, and ends this one meanwhile.
            time.sleep(PATIENCE_S)
        _end(launcher)
        raise
    except Exception as error:
        failed = _failed(launcher)
        _end(launcher)
        if failed is not None:
            raise UserError(_end_of(*failed), *then) from error
        raise
    except BaseException:
        _end(launcher)
        raise


def _end(launcher: object) -> None:
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(SIGKILL)


def _end_of(number: int, exit_code: int) -> str:
    """Words how a process ended, and what is to be mended; a negative exit code is a signal's."""
    if exit_code > 0:
        return f"process {number} of the run ended with exit code {exit_code}, and said why: mend that and "
    killed = f"process {number} of the run was killed by {Signals(-exit_code).name}"
    if -exit_code == SIGKILL:
        return f"{killed}, most often because the machine's memory ran out: free some, then "
    return f"{killed}, without a word of this program: "


def _failed(launcher: object) -> tuple[int, int] | None:
    """Returns the number and the exit code of a process that has failed by itself; None if none has."""
    if not isinstance(launcher, _SubprocessScriptLauncher) or not launcher.procs:
        return None
    ended = time.monotonic() + PATIENCE_S
    while time.monotonic() < ended:
        for number, process in enumerate(launcher.procs, start=1):
            if process.poll():
                return number, int(process.returncode)
        time.sleep(0.05)
    return None
