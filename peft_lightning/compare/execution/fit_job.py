"""The job that runs ``fit`` for one run of a comparison, with the settings in ``job.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.job import UNBUFFERED, Attempt, Job
from peft_lightning.compare.execution.outcomes import (
    ATTEMPT,
    Outcome,
    forget_failure,
    keep_failure,
    newest_record,
    newest_run,
    outcome_after,
    resumable,
    was_refused,
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
    """A job that runs ``fit``, from the start or from where an earlier attempt stopped.

    Args:
        settings: All settings of the run, as ``fit`` reads them from a file.
    """

    settings: Config

    @property
    def file(self) -> Path:
        """The file that ``fit`` reads."""
        return self.folder / FILE

    @property
    def words(self) -> tuple[str, ...]:
        """The command line after ``python -m peft_lightning``, without ``--ckpt_path last``."""
        return ("fit", "--config", str(self.file))

    def unlike(self) -> tuple[str, ...]:
        """Names the settings in which the newest run in the job's folder differs from the job."""
        return unlike_asked(self.settings, self.folder)

    def attempt(self) -> Attempt:
        """Writes the settings, and returns the process that trains with them."""
        resumed = resumable(self.folder) and not was_refused(self.folder) and not self.unlike()
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
        write_atomically(self.file, self._text.encode())
        return self._attempt(words, resumed)

    def rejoin(self) -> Attempt | None:
        """Returns the process that was left under way, if it was given these settings."""
        try:
            same = self.file.read_text(encoding="utf-8") == self._text
        except (OSError, UnicodeDecodeError):
            return None
        return self._attempt(self.words, resumed=False) if same else None

    @property
    def _text(self) -> str:
        return yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)

    def _attempt(self, words: tuple[str, ...], resumed: bool) -> Attempt:
        before, log, progress = _stamp(self.folder), self.folder / LOG, self.folder / PROGRESS

        def outcome(exit_code: int, wall_s: float) -> Outcome:
            forget_progress(progress)
            recorded = _stamp(self.folder) != before
            return self._kept(outcome_after(self.folder, exit_code, log, recorded, wall_s), resumed)

        environment = {VARIABLE: str(progress.absolute()), **UNBUFFERED}
        return Attempt(("-m", "peft_lightning", *words), log, outcome, environment, progress)

    def _kept(self, outcome: Outcome, resumed: bool) -> Outcome:
        """Keeps the reason in the job's folder if it did not finish."""
        refused = False
        if outcome.mistake and resumed:
            # For example, a run of an older version has a configuration that this version would not write.
            record = newest_record(self.folder)
            # Of one that had failed anyway only the steps that led there are lost; a stopped one may have cost days.
            refused = record is not None and record.status == "failed"
            anew = "the next --resume trains" if refused else f"or delete {self.folder} to train"
            outcome = replace(outcome, error=f"{outcome.error} ({anew} this run anew)")
        if not outcome.finished:
            keep_failure(self.folder, outcome, refused)
        return outcome


def fit_job(
    run: PlannedRun, what: str, folder: Path, changes: Mapping[str, Any] | None = None, value: str | None = None
) -> FitJob:
    """Makes the job of a planned run, or of a variant of it.

    Args:
        run: The planned run.
        what: Distinguishes the job from the recipe's other jobs: ``seed 1``, ``rate 0.001``.
        folder: The job's own folder.
        changes: Settings that replace those of the run.
        value: The value of a sweep with its setting's name; None without a sweep.
    """
    # A progress bar would fill the log.
    own = {"trainer": {"default_root_dir": str(folder), "enable_progress_bar": False}}
    return FitJob(run.label, what, folder, merge(merge(run.settings, own), changes or {}), value=value)


def _stamp(folder: Path) -> tuple[Path, int] | None:
    """Returns what changes when a new record is written: the run's directory and the time of its record."""
    run = newest_run(folder)
    return (run, (run / "results.json").stat().st_mtime_ns) if run is not None else None
