"""One piece of a comparison's work: a `fit` in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from peft_lightning.compare.plan.plan import PlannedRun


@dataclass(frozen=True)
class Job:
    """A `fit` that is to run alone.

    Args:
        label: The recipe's name in the comparison.
        what: What tells it from the recipe's other jobs: ``seed 1``, ``rate 0.001``.
        words: The command line after ``python -m peft_lightning``, without what resumes it.
        folder: The job's own folder, which gets its log and its ``lightning_logs``.
    """

    label: str
    what: str
    words: tuple[str, ...]
    folder: Path

    @property
    def title(self) -> str:
        """What a reader calls it."""
        return f"{self.label} {self.what}"


def job_of(run: PlannedRun, what: str, folder: Path, *words: str) -> Job:
    """Makes a job of a planned run, or of a variation on it.

    Args:
        run: The planned run.
        what: What tells the job from the recipe's others.
        folder: The job's own folder.
        words: Settings besides the run's own; they win.
    """
    # A bar that is drawn into a log is a log that nobody reads.
    quiet = ("--trainer.enable_progress_bar", "false")
    place = () if folder == run.folder else ("--trainer.default_root_dir", str(folder))
    return Job(run.label, what, (*run.words, *place, *quiet, *words), folder)
