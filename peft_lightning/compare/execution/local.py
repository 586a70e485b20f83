"""A `fit` in a fresh child process, which dies with this one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import (
    ATTEMPT,
    Outcome,
    forget_failure,
    keep_failure,
    newest_run,
    outcome_after,
    resumable,
)
from peft_lightning.runs.files import CannotWrite
from peft_lightning.runs.progress import VARIABLE, forget_progress

LOG = "log.txt"
PROGRESS = "progress.json"
# After Ctrl-C a run writes its record; one that hangs is killed, and goes on from its last checkpoint.
PATIENCE_S = 30.0


class Child:
    """Starts a job, or goes on with it where a process before this one stopped.

    To be made in the main thread: the kernel ends the child with the *thread* that started it.

    Args:
        job: What to run.
        device: The GPU that the child sees, as CUDA_VISIBLE_DEVICES names it; all that this process sees if None.

    Raises:
        UserError: If the job's folder cannot be written, or what lies there cannot be read.
    """

    def __init__(self, job: Job, device: str | None) -> None:
        self.job = job
        self.device = device
        self.progress = job.folder / PROGRESS
        self._log = job.folder / LOG
        self._stamp = _stamp(job.folder)
        self._resumed = resumable(job.folder) and not unlike_asked(job)
        words = [*job.words, *(("--ckpt_path", "last") if self._resumed else ())]
        program = [sys.executable, "-m", "peft_lightning.compare.execution.launcher", str(os.getpid())]
        environment = os.environ | {VARIABLE: str(self.progress.absolute()), "PYTHONUNBUFFERED": "1"}
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            forget_failure(job.folder)
            forget_progress(self.progress)
            with self._log.open("ab") as log:
                log.write(f"{ATTEMPT}{' '.join(words)}\n".encode())
                log.flush()
                self._process = subprocess.Popen(
                    [*program, "-m", "peft_lightning", *words],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in a terminal reaches the whole foreground group: the child shall be told once, by us.
                    process_group=0,
                )
        except OSError as error:
            raise CannotWrite.because(error, job.folder) from error
        self._started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it started."""
        return time.monotonic() - self._started

    def outcome(self) -> Outcome:
        """Waits for the end, and says how it was; what failed is kept in the job's folder."""
        code = self._process.wait()
        recorded = _stamp(self.job.folder) != self._stamp
        outcome = outcome_after(self.job.folder, code, self._log, recorded, self.elapsed_s)
        if outcome.mistake and self._resumed:
            # Such as a run of an older version, whose configuration is no longer the same.
            outcome = replace(outcome, error=f"{outcome.error} (or delete {self.job.folder} to train this run anew)")
        if not outcome.finished:
            keep_failure(self.job.folder, outcome)
        forget_progress(self.progress)
        return outcome

    def interrupt(self) -> None:
        """Tells the child what Ctrl-C tells it: to write its record and end."""
        if self.running:
            self._process.send_signal(signal.SIGINT)

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the child's end, and forces it when patience is at an end.

        Args:
            patience_s: Seconds to wait.
        """
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
        forget_progress(self.progress)

    def kill(self) -> None:
        """Ends the child at once, and what it has started itself."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _stamp(folder: Path) -> tuple[Path, int] | None:
    """Tells a record that was written since from one that was there before."""
    run = newest_run(folder)
    return (run, (run / "results.json").stat().st_mtime_ns) if run is not None else None
