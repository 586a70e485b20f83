"""The state of a comparison's jobs, a row for each, and the protocol of what shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress
from peft_lightning.runs.record import MemoryFigures


@dataclass
class Row:
    """The state of one job.

    Args:
        job: The job.
        outcome: How it ended; None until it has.
        started: Whether its process was started.
        elapsed_s: Seconds since its process started.
        progress: The progress that the process reports; None until it has reported any.
    """

    job: Job
    outcome: Outcome | None = None
    started: bool = False
    elapsed_s: float = 0.0
    progress: Progress | None = None

    @property
    def status(self) -> str:
        """The status of its outcome, or before that ``waiting``, ``starting`` or the stage of its progress."""
        if self.outcome is not None:
            return self.outcome.status
        if not self.started:
            return "waiting"
        return self.progress.stage if self.progress is not None else "starting"

    @property
    def share(self) -> float:
        """The share of its training that is done, in 0 to 1."""
        if self.outcome is not None and self.outcome.finished:
            return 1.0
        if self.progress is None or not self.progress.steps:
            return 0.0
        return min(1.0, self.progress.step / self.progress.steps)


class View(Protocol):
    """Shows the state of the jobs to a user."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Is called once, before the first job.

        Args:
            rows: All jobs, also those that finished in an earlier call.
        """
        ...

    def started(self, row: Row) -> None:
        """Is called when a job starts."""
        ...

    def update(self) -> None:
        """Is called a few times a second."""
        ...

    def ended(self, row: Row) -> None:
        """Is called when a job ends."""
        ...

    def end(self) -> None:
        """Is called once, after the last job or when the work is interrupted."""
        ...


GPU_MEMORY = "GPU memory"
"""The name of what ``peak_memory`` measures where there is a GPU."""


def peak_memory(memory: MemoryFigures) -> tuple[float | None, str]:
    """Returns the peak memory of a run's training in GiB, and the name of what was measured.

    That is torch's allocated GPU memory; on a CPU, where there is no such allocator, the process's resident memory.
    """
    if memory.train_peak_allocated_gib is not None:
        return memory.train_peak_allocated_gib, GPU_MEMORY
    return memory.train_peak_rss_gib, "resident memory"
