"""Runs jobs as fresh child processes on this machine, which end with this process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from peft_lightning.compare.execution import launcher
from peft_lightning.compare.execution.executor import PATIENCE_S
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.execution.places import places
from peft_lightning.runs.files import CannotWrite
from peft_lightning.runs.progress import Progress, forget_progress, read_progress

LAUNCHER = os.path.abspath(launcher.__file__)


class LocalExecutor:
    """Starts each job in a process of its own, which sees only the GPU of its place."""

    def places(self, count: int, accelerators: Sequence[object] = ()) -> list[str | None]:
        """Chooses a GPU of this machine for each job; a single job at a time has the whole machine."""
        return places(count, accelerators)

    def start(self, job: Job, place: str | None) -> "LocalProcess":
        """Starts a job. Call it in the main thread: the kernel ends a child with the *thread* that started it."""
        attempt = job.attempt()
        try:
            return LocalProcess(attempt, place)
        except OSError as error:
            raise CannotWrite.because(error, job.folder) from error


class LocalProcess:
    """The process of an attempt.

    Args:
        attempt: The attempt.
        place: The only GPU that it sees, as CUDA_VISIBLE_DEVICES names it; None for all that this process sees.
    """

    def __init__(self, attempt: Attempt, place: str | None) -> None:
        self._attempt = attempt
        environment = os.environ | dict(attempt.environment)
        if place is not None:
            environment["CUDA_VISIBLE_DEVICES"] = place
        # The launcher needs no site packages, and without them it starts in a hundredth of a second.
        program = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid())]
        with attempt.log.open("ab") as log:
            self._began = time.monotonic()
            self._process = subprocess.Popen(
                [*program, *attempt.command],
                env=environment,
                cwd=attempt.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches the whole foreground group; the child gets it once, from `interrupt`.
                process_group=0,
            )
        self._ended: float | None = None

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        if self._process.poll() is None:
            return True
        self._note_end()
        return False

    @property
    def elapsed_s(self) -> float:
        """Seconds from its start until now, or until its end was noticed."""
        return (self._ended if self._ended is not None else time.monotonic()) - self._began

    def progress(self) -> Progress | None:
        """Returns the progress that the process reports; None until it has reported any."""
        return read_progress(self._attempt.progress) if self._attempt.progress is not None else None

    def wait(self, patience_s: float) -> bool:
        """Waits for the end, ``patience_s`` seconds at most, and returns whether the process has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        return not self.running

    def outcome(self) -> Outcome:
        """Waits for the end, ends what the process has left running, and returns how the job ended."""
        code = self._process.wait()
        self._note_end()
        self._kill_group()
        return self._attempt.outcome(code, self.elapsed_s)

    def interrupt(self) -> None:
        """Sends SIGINT, as Ctrl-C does."""
        if self.running:
            self._process.send_signal(signal.SIGINT)

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the end, and kills the process after ``patience_s`` seconds."""
        if not self.wait(patience_s):
            self.kill()
        if self._attempt.progress is not None:
            forget_progress(self._attempt.progress)

    def kill(self) -> None:
        """Ends the process and those that it has started at once."""
        if self.running:
            self._kill_group()
            self._process.wait()
            self._note_end()

    def _note_end(self) -> None:
        if self._ended is None:
            self._ended = time.monotonic()

    def _kill_group(self) -> None:
        """Ends all processes of the group, also those that outlive the first, such as a loader's workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


EXECUTOR = LocalExecutor
