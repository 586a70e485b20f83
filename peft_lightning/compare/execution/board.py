"""Where a comparison's work stands: a row for each job."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress
from peft_lightning.runs.record import MemoryFigures


@dataclass
class Row:
    """One job and where it stands.

    Args:
        job: The job.
        outcome: How it ended; None as long as it has not.
        started: Whether its process runs.
        elapsed_s: Seconds since its process started.
        progress: How far it says it is.
    """

    job: Job
    outcome: Outcome | None = None
    started: bool = False
    elapsed_s: float = 0.0
    progress: Progress | None = None

    @property
    def status(self) -> str:
        """Where it stands: how it ended, or else ``waiting``, ``starting``, or the stage of its progress."""
        if self.outcome is not None:
            return self.outcome.status
        if not self.started:
            return "waiting"
        return self.progress.stage if self.progress is not None else "starting"

    @property
    def share(self) -> float:
        """How much of its training is done, from 0 to 1."""
        if self.outcome is not None and self.outcome.finished:
            return 1.0
        if self.progress is None or not self.progress.steps:
            return 0.0
        return min(1.0, self.progress.step / self.progress.steps)


class View(Protocol):
    """Shows a user how the work goes on."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Is called once, before the first job.

        Args:
            rows: All jobs, those that finished earlier too.
        """
        ...

    def started(self, row: Row) -> None:
        """Is called when a job starts.

        Args:
            row: The job.
        """
        ...

    def update(self) -> None:
        """Is called a few times a second."""
        ...

    def ended(self, row: Row) -> None:
        """Is called when a job ends.

        Args:
            row: The job.
        """
        ...

    def end(self) -> None:
        """Is called once, after the last job or when the work is broken off."""
        ...


def peak_memory(memory: MemoryFigures) -> tuple[float | None, str]:
    """Returns a run's peak of training in GiB, and what it is the peak of: on a CPU there is no allocator to ask.

    Args:
        memory: The record's section.
    """
    if memory.train_peak_allocated_gib is not None:
        return memory.train_peak_allocated_gib, "GPU memory"
    return memory.train_peak_rss_gib, "resident memory"
