"""The processes of a run on several devices, each of which runs the whole command.

Lightning starts them (``--trainer.devices``), or a launcher does: torchrun, or srun in a job of SLURM's.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

from peft_lightning.commands.launchers import PATIENCE_S, launch
from peft_lightning.commands.named_devices import named_devices
from peft_lightning.engine.sharding import is_sharded
from peft_lightning.errors import Setting, UserError

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


def refuse_other_data(trainer: Trainer, fingerprint: str) -> None:
    """Refuses a process whose rows are not the first one's: their shares would be of different epochs.

    Args:
        trainer: The Trainer; every process calls this at the same place.
        fingerprint: The hash of this process's data.

    Raises:
        UserError: In a process that has read other data.
    """
    if launched_processes(trainer) is not None and _meet(trainer, fingerprint) != fingerprint:
        raise UserError(
            f"process {trainer.global_rank} of the run has read other texts or labels than the first one: give all"
            " machines the same files"
        )


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
    named = named_devices(settings["devices"])
    devices = settings["devices"] if named is None else [int(number) for number in named]
    strategy = settings["strategy"] if is_sharded(settings["strategy"]) else "auto"
    return {"devices": devices, "num_nodes": 1, "strategy": strategy}
