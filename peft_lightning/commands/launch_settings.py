"""The settings of a run's processes, which have to agree with what a launcher has started."""

from __future__ import annotations

from collections.abc import Iterator

from lightning.pytorch import Trainer

from peft_lightning.commands.launchers import is_nobodys, left_over, processes_here
from peft_lightning.commands.processes import launched_processes
from peft_lightning.errors import Part, Setting


def launch_misfits(trainer: Trainer) -> Iterator[tuple[Part, ...]]:
    """Yields what does not agree, each with its mend.

    Args:
        trainer: The Trainer.
    """
    launched, wanted = launched_processes(trainer), trainer.num_devices * trainer.num_nodes
    if launched is None:
        yield from _of_its_own_processes(trainer, wanted)
        return
    here = processes_here()
    if launched == wanted and here is not None and here != trainer.num_devices:
        yield (
            f"torchrun has started {here} processes on this machine, and trainer.devices asks for"
            f" {trainer.num_devices} on each of {trainer.num_nodes}: say ",
            Setting("trainer.devices", here),
            " and ",
            Setting("trainer.num_nodes", max(wanted // here, 1)),
        )
    if launched != wanted:
        machines = "" if trainer.num_nodes == 1 else f" on each of {trainer.num_nodes} machines"
        fits = launched == trainer.num_devices and trainer.num_nodes > 1
        yield (
            f"torchrun or srun has started {launched} processes, and trainer.devices asks for {trainer.num_devices}"
            f"{machines}: say ",
            Setting("trainer.num_nodes", 1)
            if fits
            else Setting("trainer.devices", max(launched // trainer.num_nodes, 1)),
            ", or start as many processes",
        )


def _of_its_own_processes(trainer: Trainer, wanted: int) -> Iterator[tuple[Part, ...]]:
    if trainer.num_nodes > 1:
        yield (
            f"trainer.num_nodes {trainer.num_nodes}: a run starts processes on its own machine only: start it with"
            " torchrun or srun on each, or say ",
            Setting("trainer.num_nodes", 1),
        )
    others = left_over()
    if others is not None and others != wanted:
        yield (
            f"the environment says LOCAL_RANK and WORLD_SIZE {others}, so this is one of a launcher's processes, and"
            f" trainer.devices asks for {trainer.num_devices}: unset both, or say ",
            Setting("trainer.devices", others),
        )
    elif wanted > 1 and is_nobodys():
        yield (
            "the environment says LOCAL_RANK, so a launcher has started this process, and that is neither torchrun nor"
            " srun: unset LOCAL_RANK, or start the run with one of them",
        )
