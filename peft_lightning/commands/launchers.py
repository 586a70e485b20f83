"""What torchrun and srun tell the processes that they start, by environment variables; imports nothing slow."""

import os
import time
from dataclasses import dataclass

from peft_lightning.errors import UserError

# Longer than the first of several processes takes to say what is wrong, after which its launcher ends the others; and
# shorter than the five seconds in which Lightning looks after its processes.
PATIENCE_S = 2.0
# Who has started this process, as long as that one is there.
PARENT = os.getppid()
# The environment variable that tells a further process that a run has started it.
OF_A_RUN = "PEFT_LIGHTNING_OF_A_RUN"


@dataclass(frozen=True)
class Launch:
    """Several processes of which this is one.

    Args:
        launcher: Who has started them.
        processes: Their number.
        rank: The number of this one.
        alone: How one is started.
    """

    launcher: str
    processes: int
    rank: int
    alone: str


def launch() -> Launch | None:
    """Returns the processes that a launcher has started together with this one; None if it is alone.

    A job of SLURM's may have several tasks and a script that runs a command once: only srun starts one in each.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        found = Launch("torchrun", _number("WORLD_SIZE", 1), _number("RANK", 0), "without torchrun")
    else:
        found = Launch("srun", _number("SLURM_STEP_NUM_TASKS", 1), _number("SLURM_PROCID", 0), "with srun --ntasks=1")
    return found if found.processes > 1 else None


def refuse_several(word: str, does: str, instead: str = "") -> None:
    """Refuses to run a command in each of several processes.

    Args:
        word: The command.
        does: What it does by itself, such as ``serves from one process``.
        instead: What else there is for several, after the mend.

    Raises:
        UserError: If a launcher has started several processes.
    """
    found = launch()
    if found is None:
        return
    if found.rank > 0:
        time.sleep(PATIENCE_S)
    raise UserError(
        f"{word} {does}, and {found.launcher} has started {found.processes}: start it {found.alone}{instead}"
    )


def left_over() -> int | None:
    """Returns the number of processes of which a launcher has told this one; None if it has told none."""
    return (_number("WORLD_SIZE", 0) or None) if "LOCAL_RANK" in os.environ else None


def is_nobodys() -> bool:
    """Tells whether the environment numbers this process, and neither a launcher nor a run has started it."""
    return "LOCAL_RANK" in os.environ and OF_A_RUN not in os.environ


def processes_here() -> int | None:
    """Returns how many processes torchrun has started on this machine; None if it has started none."""
    return _number("LOCAL_WORLD_SIZE", 0) or None


def _number(name: str, otherwise: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else otherwise
