"""What an executor runs: a job with a folder of its own, and each attempt at it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peft_lightning.compare.execution.outcomes import Outcome


@dataclass(frozen=True)
class Attempt:
    """One start of a job: the process that an executor runs, and what its end means.

    Args:
        command: The words after the Python interpreter.
        log: The file that the process's output is appended to.
        outcome: Says how it ended, from its exit code, negative if a signal ended it, and its seconds.
        environment: Variables that it gets beside those of this process.
        progress: The file in which it says how far it is; None if it does not.
        directory: Where it works; where this process does if None.
    """

    command: tuple[str, ...]
    log: Path
    outcome: Callable[[int, float], Outcome]
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Path | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Job(ABC):
    """A piece of work that runs alone.

    Args:
        label: The recipe's name in the comparison.
        what: What tells it from the recipe's other jobs: ``seed 1``, ``rate 0.001``.
        folder: The job's own folder, which gets all that its process reads and writes.
    """

    label: str
    what: str
    folder: Path

    @property
    def title(self) -> str:
        """What a reader calls it."""
        return f"{self.label} {self.what}"

    @abstractmethod
    def attempt(self) -> Attempt:
        """Lays down what the process reads, and says which process that is.

        Raises:
            UserError: If the job's folder cannot be written, or what lies there cannot be read.
        """

    def unlike(self) -> tuple[str, ...]:
        """Names the settings in which what lies in the job's folder differs from the job."""
        return ()
