"""What the runs of a comparison have left on disk: how far they came, and why those stopped that failed."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.record import RunRecord, Status

FAILURE = "failure.json"
ONE_LINE = "peft_lightning: error: "
# What a log says before each attempt; the words follow.
ATTEMPT = "$ python -m peft_lightning "
# The end of a log is enough to find its last line, however long a run talked.
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        status: As in a record: ``finished``, ``failed``, ``out_of_memory`` or ``interrupted``.
        error: Why, in one line; None of a run that finished.
        record: What the run recorded; None if it ended before.
        exit_code: The process's; None of a run that had finished before.
        wall_s: Seconds from start to end; None of a run that had finished before.
    """

    status: Status
    error: str | None = None
    record: RunRecord | None = None
    exit_code: int | None = None
    wall_s: float | None = None

    @property
    def finished(self) -> bool:
        """Whether the run has all its figures."""
        return self.status == "finished"

    @property
    def diverged(self) -> bool:
        """Whether the run ended because its loss or a weight was no number any more."""
        return self.record is not None and self.record.diverged

    @property
    def mistake(self) -> bool:
        """Whether the run was refused as a user's mistake, before it began; one that broke off later has a record."""
        return self.exit_code == 2 and self.record is None


def newest_run(folder: Path) -> Path | None:
    """Finds the newest run directory with a record below a planned run's folder.

    Args:
        folder: The planned run's folder.
    """
    found = [path.parent for path in folder.glob("lightning_logs/*/version_*/results.json")]
    numbered = [(int(number), path) for path in found if (number := path.name.removeprefix("version_")).isdigit()]
    return max(numbered)[1] if numbered else None


def newest_record(folder: Path) -> RunRecord | None:
    """Reads the newest record below a planned run's folder; None where there is none that can be read.

    Args:
        folder: The planned run's folder.
    """
    run = newest_run(folder)
    try:
        return RunRecord.read(run / "results.json") if run is not None else None
    except UserError:
        return None


def finished_before(folder: Path) -> Outcome | None:
    """Returns how a run ended that needs not run again.

    Args:
        folder: The planned run's folder.
    """
    record = newest_record(folder)
    return Outcome("finished", record=record) if record is not None and record.status == "finished" else None


def tried_before(folder: Path) -> Outcome | None:
    """Returns how a try ended that needs not run again: one that diverged has its answer too.

    Args:
        folder: The try's folder.
    """
    record = newest_record(folder)
    if record is not None and record.diverged:
        return Outcome(record.status, record.error, record)
    return finished_before(folder)


def resumable(folder: Path) -> bool:
    """Tells whether a run has begun that can go on.

    Args:
        folder: The planned run's folder.
    """
    record = newest_record(folder)
    return record is not None and record.status != "finished"


def outcome_after(folder: Path, exit_code: int, log: Path, recorded: bool, wall_s: float) -> Outcome:
    """Says how a run ended whose process has.

    Args:
        folder: The planned run's folder.
        exit_code: The process's; negative if a signal ended it.
        log: What the process printed.
        recorded: Whether the record was written by this very process.
        wall_s: Seconds from its start to its end.
    """
    record = newest_record(folder) if recorded else None
    if record is not None and record.status not in ("running", "finished"):
        return Outcome(record.status, record.error or record.status, record, exit_code, wall_s)
    if record is not None and record.status == "finished":
        return Outcome("finished", None, record, exit_code, wall_s)
    if exit_code < 0:
        cause = " (the machine's memory may have run out)" if exit_code == -signal.SIGKILL else ""
        return Outcome("failed", f"killed by {signal.Signals(-exit_code).name}{cause}", record, exit_code, wall_s)
    line = last_line(log)
    status: Status = "out_of_memory" if "OutOfMemoryError" in line else "failed"
    error = line.removeprefix(ONE_LINE)
    if not line.startswith(ONE_LINE):
        error = f"exit code {exit_code}: {error or 'without a word'}"
    return Outcome(status, error, record, exit_code, wall_s)


def last_line(log: Path) -> str:
    """Returns the last line of a log that says something of the last attempt; nothing where there is none.

    Args:
        log: The file.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # Where no attempt begins in the end of a log, all of it is of the last one.
    begins = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    attempt = [line.strip() for line in lines[begins[-1] + 1 if begins else 0 :] if line.strip()]
    # What Python's own threads say on their way out comes after the error.
    return next((line for line in reversed(attempt) if line.startswith(ONE_LINE)), attempt[-1] if attempt else "")


def keep_failure(folder: Path, outcome: Outcome) -> None:
    """Keeps in a run's folder why it did not finish, for the report.

    Args:
        folder: The planned run's folder.
        outcome: How it ended.
    """
    status = "out_of_memory" if outcome.status == "out_of_memory" else "failed"
    content = {"status": status, "error": outcome.error}
    write_atomically(folder / FAILURE, (json.dumps(content) + "\n").encode())


def forget_failure(folder: Path) -> None:
    """Removes the failure of a run that is tried again.

    Args:
        folder: The planned run's folder.
    """
    (folder / FAILURE).unlink(missing_ok=True)


def has_failed(folder: Path) -> bool:
    """Tells whether a run failed, as it stands.

    Args:
        folder: The planned run's folder.
    """
    return (folder / FAILURE).exists()
