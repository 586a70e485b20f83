"""A `fit` of a comparison: a folder with the settings of one run in it, ``job.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import (
    ATTEMPT,
    Outcome,
    forget_failure,
    keep_failure,
    newest_run,
    outcome_after,
    resumable,
)
from peft_lightning.compare.plan.plan import PlannedRun
from peft_lightning.recipes import Config, merge
from peft_lightning.runs.files import CannotWrite, write_atomically
from peft_lightning.runs.progress import VARIABLE, forget_progress

FILE = "job.yaml"
LOG = "log.txt"
PROGRESS = "progress.json"


@dataclass(frozen=True)
class FitJob(Job):
    """A `fit` that begins, or goes on where an attempt before this one stopped.

    Args:
        settings: All that the run is given, as `fit` reads it from a file.
    """

    settings: Config

    @property
    def file(self) -> Path:
        """The file that `fit` reads."""
        return self.folder / FILE

    @property
    def words(self) -> tuple[str, ...]:
        """The command line after ``python -m peft_lightning``, without what resumes it."""
        return ("fit", "--config", str(self.file))

    def unlike(self) -> tuple[str, ...]:
        """Names the settings in which the newest run in the job's folder differs from the job."""
        return unlike_asked(self.settings, self.folder)

    def attempt(self) -> Attempt:
        """Writes the settings, and says which process trains with them."""
        before = _stamp(self.folder)
        resumed = resumable(self.folder) and not self.unlike()
        words = (*self.words, *(("--ckpt_path", "last") if resumed else ()))
        log, progress = self.folder / LOG, self.folder / PROGRESS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            forget_failure(self.folder)
            forget_progress(progress)
            with log.open("ab") as file:
                file.write(f"{ATTEMPT}{' '.join(words)}\n".encode())
        except OSError as error:
            raise CannotWrite.because(error, self.folder) from error
        text = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)
        write_atomically(self.file, text.encode())

        def outcome(exit_code: int, wall_s: float) -> Outcome:
            forget_progress(progress)
            recorded = _stamp(self.folder) != before
            return self._kept(outcome_after(self.folder, exit_code, log, recorded, wall_s), resumed)

        environment = {VARIABLE: str(progress.absolute()), "PYTHONUNBUFFERED": "1"}
        return Attempt(("-m", "peft_lightning", *words), log, outcome, environment, progress)

    def _kept(self, outcome: Outcome, resumed: bool) -> Outcome:
        """Keeps in the job's folder why it did not finish."""
        if outcome.mistake and resumed:
            # Such as a run of an older version, whose configuration is no longer the same.
            outcome = replace(outcome, error=f"{outcome.error} (or delete {self.folder} to train this run anew)")
        if not outcome.finished:
            keep_failure(self.folder, outcome)
        return outcome


def fit_job(run: PlannedRun, what: str, folder: Path, changes: Mapping[str, Any] | None = None) -> FitJob:
    """Makes a job of a planned run, or of a variation on it.

    Args:
        run: The planned run.
        what: What tells the job from the recipe's others.
        folder: The job's own folder.
        changes: Settings besides the run's own; they win.
    """
    # A bar that is drawn into a log is a log that nobody reads.
    own = {"trainer": {"default_root_dir": str(folder), "enable_progress_bar": False}}
    return FitJob(run.label, what, folder, merge(merge(run.settings, own), changes or {}))


def _stamp(folder: Path) -> tuple[Path, int] | None:
    """Tells a record that was written since from one that was there before."""
    run = newest_run(folder)
    return (run, (run / "results.json").stat().st_mtime_ns) if run is not None else None
