"""SLURM's queue by its own programs: sbatch, squeue, scontrol, sacct and scancel."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.errors import UserError
from peft_lightning.stop_signals import delaying_signals

# Seconds between two looks at the queue, one for all runs: a controller serves many users.
LOOK_EVERY_S = 2.0
ANSWERED_AFTER_S = 60.0
# https://slurm.schedmd.com/squeue.html, JOB STATE CODES: in these a job has not ended.
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
UNDER_WAY = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}


@dataclass(frozen=True)
class QueueState:
    """The state of a job in the queue.

    Args:
        name: SLURM's word, such as ``PENDING``.
        reason: Why it waits, such as ``Priority``.
        exit_code: The exit code of a job that has ended, negative for a signal; None if SLURM does not know it.
    """

    name: str
    reason: str = ""
    exit_code: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether it has not started."""
        return self.name in WAITING

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.name not in WAITING | UNDER_WAY


class SlurmQueue:
    """The user's jobs in SLURM's queue."""

    def __init__(self) -> None:
        self._states: dict[str, QueueState] = {}
        self._numbers: dict[str, str] = {}
        self._looked_s = -LOOK_EVERY_S

    def check(self) -> None:
        """Checks that there is a SLURM that answers.

        Raises:
            UserError: If there is none.
        """
        if (why := self._look()) is not None:
            raise UserError(f"--executor slurm: {why}: run compare on a login node of the cluster, where squeue works")

    def submit(self, options: Sequence[str], script: Path) -> str:
        """Submits a script, and returns the number of its job.

        Raises:
            UserError: If SLURM refuses it.
        """
        # A signal that raised here would lose a job that has been submitted.
        with delaying_signals():
            code, out, err = _run(["sbatch", "--parsable", *options, str(script)])
        if code != 0:
            raise UserError(f"SLURM refuses {script}: {_line(err)}: see --executor_settings")
        number = out.strip().partition(";")[0]
        self._states[number] = QueueState("PENDING")
        self._looked_s = time.monotonic()
        return number

    def find(self, name: str) -> str | None:
        """Returns the number of the job of that name that has not ended; None if there is none."""
        self._look()
        return self._numbers.get(name)

    def state(self, number: str) -> QueueState:
        """Returns the state of a job, a few seconds old at most."""
        state = self._states.get(number)
        if state is not None and state.ended:
            return state
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S and self._look() is not None and state is not None:
            return state  # the controller does not answer: its jobs run on
        if number not in self._states:
            ended = _ended(number)
            if ended is None and state is not None:
                return state
            self._states[number] = ended or QueueState("UNKNOWN")
        return self._states[number]

    def signal(self, number: str, name: str) -> None:
        """Sends a signal to the run of a job; a job that waits is cancelled."""
        if self.state(number).waiting:
            self.cancel(number)
        else:
            _run(["scancel", "--batch", f"--signal={name}", number])

    def cancel(self, number: str) -> None:
        """Ends a job."""
        _run(["scancel", number])

    def _look(self) -> str | None:
        """Reads the states of all jobs that have not ended; returns why that cannot be done."""
        code, out, err = _run(["squeue", "--me", "--noheader", "--format=%i|%T|%r|%j"])
        self._looked_s = time.monotonic()
        if code != 0:
            return _line(err)
        rows = [line.strip().split("|", 3) for line in out.splitlines() if line.count("|") >= 3]
        listed = {number: QueueState(state, reason) for number, state, reason, _ in rows}
        kept = {number: state for number, state in self._states.items() if state.ended}
        self._states = kept | {number: state for number, state in listed.items() if not state.ended}
        self._numbers = {name: number for number, _, _, name in rows if not listed[number].ended}
        return None


def _ended(number: str) -> QueueState | None:
    """Returns the state of a job that has left the queue; None as long as the controller does not answer."""
    code, out, err = _run(["scontrol", "--oneliner", "show", "job", number])
    if code == 0:
        fields = dict(word.partition("=")[::2] for word in out.split())
        state = QueueState(fields.get("JobState", "UNKNOWN"), fields.get("Reason", ""))
        return QueueState(state.name, state.reason, _code(fields.get("ExitCode", ""))) if state.ended else state
    if "Invalid job id" not in err:
        return None
    # The controller forgets a job after some minutes; a cluster with accounting does not.
    code, out, _ = _run(["sacct", "-X", "-n", "-P", "-j", number, "-o", "State,ExitCode"])
    if code == 0 and out.strip():
        name, _, exit_code = out.strip().splitlines()[-1].partition("|")
        return QueueState(name.split()[0], "", _code(exit_code))
    return QueueState("UNKNOWN")


def _code(text: str) -> int | None:
    """Converts SLURM's ``code:signal``."""
    code, _, number = text.partition(":")
    if not code.isdecimal() or not number.isdecimal():
        return None
    return -int(number) if int(number) else int(code)


def _run(command: list[str]) -> tuple[int, str, str]:
    try:
        # In a group of its own: Ctrl-C in a terminal is for this process.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWERED_AFTER_S,
            process_group=0,
        )
    except FileNotFoundError:
        return 127, "", f"there is no {command[0]} here"
    except subprocess.TimeoutExpired:
        return 124, "", f"{command[0]} does not answer within {ANSWERED_AFTER_S:.0f} s"
    return done.returncode, done.stdout, done.stderr


def _line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
