"""Runs jobs as fresh child processes on this machine, which end with this process."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from peft_lightning.compare.execution.executor import PATIENCE_S, ExecutorOptions
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.execution.places import places
from peft_lightning.compare.execution.warm_starts import LAUNCHER, ForkedProcess, NoWarmStart, WarmStarts
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite
from peft_lightning.runs.process_start import SHARED
from peft_lightning.runs.progress import Progress, forget_progress, read_progress

# The only program whose processes a server forks.
PROGRAM = ("-m", "peft_lightning")
Process = subprocess.Popen[bytes] | ForkedProcess


class LocalExecutor:
    """Starts each job in a process of its own, which sees only the GPUs of its place.

    The processes come from a server that has done their imports. Where it cannot fork, they start cold, which a note
    says. Call it in the main thread: the kernel ends a child with the *thread* that started it.

    Args:
        options: How it starts jobs.
    """

    elsewhere = False

    def __init__(self, options: ExecutorOptions = ExecutorOptions()) -> None:  # noqa: B008 it is frozen
        if options.settings is not None:
            raise UserError("--executor_settings is for a cluster: say --executor slurm or ray, or leave it out")
        options.refuse_address()
        self._options = options
        self._at_once = self._on_a_device = 1
        self._warm: WarmStarts | None = None
        # The kernels of other systems end no process with its parent, and hand no process on.
        self._cold = options.cold_starts or sys.platform != "linux"

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        """Chooses GPUs of this machine for each job; a single job at a time has the whole machine."""
        chosen = places(count, accelerators, self._options.share_gpu, gpus_per_run)
        # Lightning starts a run's further processes with the words that its first one was started with.
        self._cold = self._cold or gpus_per_run > 1
        self._at_once, self._on_a_device = len(chosen), max(Counter(chosen).values())
        return chosen

    def start(self, job: Job, place: str | None) -> "LocalProcess":
        """Starts a job."""
        attempt = job.attempt()
        environment = self._environment(attempt, place)
        try:
            with attempt.log.open("ab") as log:
                if (server := self._server_for(attempt, environment)) is not None:
                    began = time.monotonic()
                    try:
                        words = list(attempt.command[len(PROGRAM) :])
                        return LocalProcess(attempt, server.start(words, environment, attempt.directory, log), began)
                    except NoWarmStart as error:
                        self._start_cold_from_now_on(error)
                began = time.monotonic()
                return LocalProcess(attempt, _started(attempt, environment, log), began)
        except OSError as error:
            raise CannotWrite.because(error, job.folder) from error

    def _server_for(self, attempt: Attempt, environment: Mapping[str, str]) -> WarmStarts | None:
        """Returns the server that forks the process of an attempt, once it is ready; None for a cold start."""
        if self._cold or attempt.command[: len(PROGRAM)] != PROGRAM:
            return None
        try:
            if self._warm is None:
                self._warm = WarmStarts(environment)
            self._warm.await_ready()
        except NoWarmStart as error:
            self._start_cold_from_now_on(error)
            return None
        return self._warm if self._warm.suits(environment) else None

    def _start_cold_from_now_on(self, why: NoWarmStart) -> None:
        self._cold = True
        if self._warm is not None:
            self._warm.close()
            self._warm = None
        print(f"note: runs import everything themselves from now on, since their server cannot fork: {why}", flush=True)

    def _environment(self, attempt: Attempt, place: str | None) -> dict[str, str]:
        environment = os.environ | dict(attempt.environment)
        if place is not None:
            environment["CUDA_VISIBLE_DEVICES"] = place
        if self._on_a_device > 1:
            environment[SHARED] = str(self._on_a_device)
            # More threads than cores cost more than they bring.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // self._at_once)))
        return environment


class LocalProcess:
    """The process of an attempt.

    Args:
        attempt: The attempt.
        process: Its process.
        began: When it was started, by the monotonic clock.
    """

    def __init__(self, attempt: Attempt, process: Process, began: float) -> None:
        self._attempt = attempt
        self._process = process
        self._began = began
        self._ended: float | None = None

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        if self._process.poll() is None:
            return True
        self._note_end()
        return False

    @property
    def stays(self) -> bool:
        """Nothing outlives this process."""
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


def _started(attempt: Attempt, environment: Mapping[str, str], log: IO[bytes]) -> Process:
    # The launcher needs no site packages, and without them it starts in a hundredth of a second.
    program = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid())]
    return subprocess.Popen(
        [*program, *attempt.command],
        env=environment,
        cwd=attempt.directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # Ctrl-C in a terminal reaches the whole foreground group; the child gets it once, from `interrupt`.
        process_group=0,
    )


EXECUTOR = LocalExecutor
