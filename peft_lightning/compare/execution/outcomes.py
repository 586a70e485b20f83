"""How a run ended, from the record, the failure and the log that it has left on disk."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.errors import UserError
from peft_lightning.runs.checked_json import read_object
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.record import RunRecord, Status

FAILURE = "failure.json"
ONE_LINE = "peft_lightning: error: "
# The log has this line before each attempt, with the words of its command.
ATTEMPT = "$ python -m peft_lightning "
# Only the end of a log is read to find its last line, because a log can be long.
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        status: As in a record: ``finished``, ``failed``, ``out_of_memory`` or ``interrupted``.
        error: The reason, in one line; None if the run finished.
        record: The run's record; None if it ended before it wrote one.
        exit_code: The process's exit code; None if the run had finished earlier.
        wall_s: Seconds from start to end of the process; None if the run had finished earlier.
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
        """Whether the run ended because its loss or a weight became NaN or infinite."""
        return self.record is not None and self.record.diverged

    @property
    def mistake(self) -> bool:
        """Whether the run was refused as a user's mistake before it began. A run that failed later has a record."""
        return self.exit_code == 2 and self.record is None


def newest_run(folder: Path) -> Path | None:
    """Returns the newest run directory with a record below a job's folder; None if there is none."""
    found = [path.parent for path in folder.glob("lightning_logs/*/version_*/results.json")]
    numbered = [(int(number), path) for path in found if (number := path.name.removeprefix("version_")).isdecimal()]
    return max(numbered)[1] if numbered else None


def newest_record(folder: Path) -> RunRecord | None:
    """Reads the newest record below a job's folder; returns None if there is none or it cannot be read."""
    run = newest_run(folder)
    try:
        return RunRecord.read(run / "results.json") if run is not None else None
    except UserError:
        return None


def finished_before(folder: Path) -> Outcome | None:
    """Returns the outcome of the run in a job's folder if it has finished, else None."""
    record = newest_record(folder)
    return Outcome("finished", record=record) if record is not None and record.status == "finished" else None


def tried_before(folder: Path) -> Outcome | None:
    """Returns the outcome of a learning rate's run that has finished or diverged, else None; neither is run again."""
    record = newest_record(folder)
    if record is not None and record.diverged:
        return Outcome(record.status, record.error, record)
    return finished_before(folder)


def resumable(folder: Path) -> bool:
    """Returns whether the newest run in a job's folder has begun and not finished."""
    record = newest_record(folder)
    return record is not None and record.status != "finished"


def outcome_after(folder: Path, exit_code: int, log: Path, recorded: bool, wall_s: float) -> Outcome:
    """Returns how a run ended, after its process has ended.

    Args:
        folder: The job's folder.
        exit_code: The process's exit code; negative if a signal ended it.
        log: The file with the process's output.
        recorded: Whether this process wrote the newest record.
        wall_s: Seconds from the process's start to its end.
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
    """Returns the error line of a log's last attempt, else its last line that is not blank, else an empty text."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # If no attempt begins in the part that was read, all of that part belongs to the last attempt.
    begins = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    attempt = [line.strip() for line in lines[begins[-1] + 1 if begins else 0 :] if line.strip()]
    # Python's threads may print lines after the error.
    return next((line for line in reversed(attempt) if line.startswith(ONE_LINE)), attempt[-1] if attempt else "")


def keep_failure(folder: Path, outcome: Outcome, refused: bool = False) -> None:
    """Keeps in a job's folder why its run did not finish, for the report.

    Args:
        folder: The job's folder.
        outcome: How its run ended.
        refused: Whether it had failed before, and cannot be gone on with.
    """
    status = "out_of_memory" if outcome.status == "out_of_memory" else "failed"
    content = {"status": status, "error": outcome.error} | ({"refused": True} if refused else {})
    write_atomically(folder / FAILURE, (json.dumps(content) + "\n").encode())


def forget_failure(folder: Path) -> None:
    """Removes the kept failure from a job's folder, before its run is tried again."""
    (folder / FAILURE).unlink(missing_ok=True)


def has_failed(folder: Path) -> bool:
    """Returns whether a job's folder keeps a failure."""
    return (folder / FAILURE).exists()


def was_refused(folder: Path) -> bool:
    """Returns whether the failed run in a job's folder could not be gone on with when that was last tried."""
    try:
        return read_object(folder / FAILURE).get("refused") is True
    except (OSError, ValueError):
        return False
