"""The seam between a comparison's work and where it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress

# After Ctrl-C a run writes its record; one that hangs is killed, and goes on from its last checkpoint.
PATIENCE_S = 30.0


class Running(Protocol):
    """A job that was started."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Seconds since it started; until its end, if it has ended."""
        ...

    def progress(self) -> Progress | None:
        """How far it says it is; None as long as it has not said."""
        ...

    def wait(self, patience_s: float) -> bool:
        """Waits for the end.

        Args:
            patience_s: Seconds to wait at most.

        Returns:
            Whether it has ended.
        """
        ...

    def outcome(self) -> Outcome:
        """Waits for the end, ends what the job left running, and says how it was."""
        ...

    def interrupt(self) -> None:
        """Tells the job what Ctrl-C tells it: to write its record and end."""
        ...

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the job's end, and forces it when patience is at an end.

        Args:
            patience_s: Seconds to wait.
        """
        ...

    def kill(self) -> None:
        """Ends the job at once, and what it has started itself."""
        ...


class Executor(Protocol):
    """Starts jobs, each alone in a place."""

    def places(self, count: int, accelerators: Sequence[object] = ()) -> list[str | None]:
        """Says where jobs run at the same time.

        Args:
            count: How many at the same time.
            accelerators: What the recipes name as ``trainer.accelerator``.

        Returns:
            The name of each place; None for all that there is.

        Raises:
            UserError: If there are not so many places.
        """
        ...

    def start(self, job: Job, place: str | None) -> Running:
        """Starts a job.

        Args:
            job: The job.
            place: One of the places.

        Raises:
            UserError: If it cannot be started.
        """
        ...


@dataclass(frozen=True)
class Pool:
    """An executor, and the places where it runs jobs at the same time.

    Args:
        executor: Who starts them.
        places: The name of each place; None for all that there is.
    """

    executor: Executor
    places: Sequence[str | None]
