"""What an executor runs: a job, which has a folder of its own, and each attempt at it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peft_lightning.compare.execution.outcomes import Outcome

# What the process of a job writes is in its log at once. A process is forked only where Python read the same before.
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Attempt:
    """One start of a job: the process to run, and a function that turns its end into an outcome.

    Args:
        command: The words after the Python interpreter.
        log: The file that the process's output is appended to.
        outcome: Returns how the job ended, from the exit code (negative for a signal) and the seconds it took.
        environment: Environment variables in addition to those of this process.
        progress: The file in which the process reports its progress; None if it reports none.
        directory: The working directory; this process's own if None.
    """

    command: tuple[str, ...]
    log: Path
    outcome: Callable[[int, float], Outcome]
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Path | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Job(ABC):
    """A piece of work that runs in a process of its own.

    Args:
        label: The recipe's name in the comparison.
        what: Distinguishes the job from the recipe's other jobs: ``seed 1``, ``rate 0.001``.
        folder: The job's own folder, with all that its process reads and writes.
        value: The value of a sweep with its setting's name, ``n_train 100``; None without a sweep.
    """

    label: str
    what: str
    folder: Path
    value: str | None = field(default=None, kw_only=True)

    @property
    def variant(self) -> str:
        """The name that jobs of equal work share: the recipe's label and the value of a sweep."""
        return self.label if self.value is None else f"{self.label} {self.value}"

    @property
    def title(self) -> str:
        """The job's name in messages: the variant and ``what``."""
        return f"{self.variant} {self.what}"

    @abstractmethod
    def attempt(self) -> Attempt:
        """Writes what the process reads, and returns the process to run.

        Raises:
            UserError: If the job's folder cannot be written, or a run in it cannot be read.
        """

    def rejoin(self) -> Attempt | None:
        """Returns the attempt that an earlier comparison has left under way; None if it was one of other settings."""
        return None

    def unlike(self) -> tuple[str, ...]:
        """Names the settings in which the run in the job's folder differs from the job."""
        return ()
