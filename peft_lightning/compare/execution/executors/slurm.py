"""Submits jobs to SLURM, by sbatch: a job's folder holds its script, its settings, its log and its progress.

By sbatch itself and not by submitit, which pickles a function: here all that a run needs is a file already, and whoever
looks into a folder can submit its script by hand. Each run is a job of its own and not a part of an array: runs are
submitted as others end, and each is resubmitted by itself. A pre-empted run, or one whose time is over, is submitted
again here, since only ``fit --ckpt_path last`` goes on with it; so SLURM is asked not to requeue it.
"""

import hashlib
import math
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from peft_lightning.compare.execution.cluster_job import LOOK_EVERY_S, ClusterJob
from peft_lightning.compare.execution.executor import PATIENCE_S, ExecutorOptions, require_gpus, require_one
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome, keep_failure
from peft_lightning.compare.execution.shared_folder import MOST_IN_VAIN, check_renames
from peft_lightning.compare.execution.slurm_queue import QueueState, SlurmQueue
from peft_lightning.compare.execution.slurm_settings import SlurmSettings, read_slurm_settings
from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.progress import Progress
from peft_lightning.runs.record import Status

SCRIPT = "slurm.sh"
# The run's node writes its name here before anything else.
STARTED = "slurm_node.txt"
# Runs in the queue at the same time unless --jobs says otherwise: a scheduler has those of others to consider too.
AT_ONCE = 50
# Seconds before its time limit at which a run is asked to write its checkpoint and its record.
WARNED_BEFORE_S = 60
# SLURM ends such a job for reasons that are not the run's.
GO_ON_AFTER = {"TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"}
# How Lightning's warning begins to a job that srun has not started.
ADVICE = "The `srun` command is available on your system but is not used"
# The exit code of a run that SIGTERM has stopped in order.
TERMINATED = 143


class SlurmExecutor:
    """Runs each job on a node of the cluster; the working directory must be one that the nodes share.

    Args:
        options: How it starts jobs.

    Raises:
        UserError: If the settings cannot be read, or do not suit.
    """

    elsewhere = True

    def __init__(self, options: ExecutorOptions = ExecutorOptions()) -> None:  # noqa: B008 it is frozen
        if options.share_gpu > 1:
            raise UserError("--share_gpu is for --executor local and ray: SLURM gives each run the GPUs it asks for")
        options.refuse_address()
        self._settings = read_slurm_settings(options.settings)
        self._queue = SlurmQueue()

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        """Returns a place in the queue for each job; SLURM chooses nodes and GPUs."""
        require_one("--jobs", count)
        require_gpus(gpus_per_run, self._settings.gpus, accelerators)
        self._queue.check()
        check_renames(Path.cwd())
        return [None] * (count or AT_ONCE)

    def start(self, job: Job, place: str | None) -> "SlurmJob":
        """Submits a job, or finds it in the queue where an earlier comparison has left it."""
        return SlurmJob(job, self._settings, self._queue)


class SlurmJob(ClusterJob):
    """A job in SLURM's queue.

    Args:
        job: The job.
        settings: What it asks SLURM for.
        queue: The queue.

    Raises:
        UserError: If it cannot be submitted.
    """

    def __init__(self, job: Job, settings: SlurmSettings, queue: SlurmQueue) -> None:
        super().__init__(job, STARTED)
        self._settings, self._queue = settings, queue
        self._number = queue.find(self._name) or ""
        attempt = job.rejoin() if self._number else None
        if attempt is None:
            if self._number:  # of other settings
                queue.cancel(self._number)
                self._wait_until_ended(PATIENCE_S)
            self._submit()
        else:
            self._attempt = attempt

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet; one that SLURM has ended too early is submitted again.

        Raises:
            UserError: If what its node writes is not seen here.
        """
        state = self._queue.state(self._number)
        if not state.waiting and self._began is None:
            self._began = time.monotonic()
        if not state.ended:
            return True
        if state.name in ("COMPLETED", "FAILED") and state.exit_code != TERMINATED:
            self._folder.await_start("SLURM's")
        if not self._stopping and self._ended_too_early(state) and self._folder.may_go_on():
            self._submit()
            return True
        if self._ended is None:
            self._ended = time.monotonic()
        return False

    @property
    def stays(self) -> bool:
        """Whether it is left in the queue when this process is interrupted."""
        return self._settings.ctrl_c == "detach"

    def progress(self) -> Progress | None:
        """Returns the progress that the job reports; that it waits, and why, before it has started."""
        state = self._queue.state(self._number)
        if state.waiting:
            why = f" ({state.reason})" if state.reason not in ("", "None") else ""
            return Progress(f"{state.name.lower()}{why}", 0, None, 0.0)
        return self._reported()

    def outcome(self) -> Outcome:
        """Waits for the end, and returns how the job ended."""
        self.wait(math.inf)
        state = self._queue.state(self._number)
        # SLURM has forgotten a job that it does not know; then the record alone tells.
        code = state.exit_code if state.exit_code is not None else int(state.name != "COMPLETED")
        outcome = self._attempt.outcome(code, self.elapsed_s)
        words = {
            "OUT_OF_MEMORY": "it took more memory than it asked SLURM for: raise mem in --executor_settings",
            "CANCELLED": "it was cancelled in SLURM's queue",
        }
        error = words.get(state.name)
        if error is None and self._ended_too_early(state):
            error = (
                f"SLURM ended it {MOST_IN_VAIN} times before its next checkpoint ({state.name}): raise time in"
                " --executor_settings, or lower --checkpoint.every_n_steps"
            )
        if outcome.finished or error is None or self._stopping:
            return outcome
        status: Status = "out_of_memory" if state.name == "OUT_OF_MEMORY" else "failed"
        outcome = replace(outcome, status=status, error=error)
        keep_failure(self._job.folder, outcome)
        return outcome

    def interrupt(self) -> None:
        """Asks the job to write its record and end, or leaves it, as ``ctrl_c`` says."""
        if not self.stays:
            self._stopping = True
            self._queue.signal(self._number, "INT")

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the end, and cancels the job after ``patience_s`` seconds; leaves it, if ``ctrl_c`` says so."""
        if not self.stays and not self.wait(patience_s):
            self.kill()

    def kill(self) -> None:
        """Cancels the job, unless ``ctrl_c`` says that jobs are left in the queue."""
        if not self.stays and not self._queue.state(self._number).ended:
            self._stopping = True
            self._queue.cancel(self._number)

    @property
    def _name(self) -> str:
        """The name by which the job is found again: that of its folder, in characters that no program minds."""
        folder = self._job.folder.absolute()
        words = re.sub(r"[^A-Za-z0-9_.-]+", "-", self._job.title)[:40]
        return f"peft-{words}-{hashlib.sha256(str(folder).encode(errors='surrogateescape')).hexdigest()[:12]}"

    def _submit(self) -> None:
        self._attempt = self._job.attempt()
        folder = self._job.folder.absolute()
        self._folder.forget_start()
        script = folder / SCRIPT
        write_atomically(script, script_of(self._attempt, self._settings, folder).encode(errors="surrogateescape"))
        options = [
            f"--job-name={self._name}",
            f"--chdir={self._attempt.directory or Path.cwd()}",
            "--output=/dev/null",
            "--no-requeue",
            f"--signal=B:TERM@{WARNED_BEFORE_S}",
            *self._settings.words(),
        ]
        self._number = self._queue.submit(options, script)
        self._began = self._ended = None

    def _ended_too_early(self, state: QueueState) -> bool:
        # A run that was warned of its time limit stops in order, and SLURM says that it failed.
        return state.name in GO_ON_AFTER or state.exit_code == TERMINATED

    def _wait_until_ended(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while not self._queue.state(self._number).ended and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)


def script_of(attempt: Attempt, settings: SlurmSettings, folder: Path) -> str:
    """Returns the shell script of an attempt.

    Args:
        attempt: The attempt.
        settings: What it asks SLURM for.
        folder: The job's folder.
    """
    command = [settings.python or sys.executable, *attempt.command]
    variables = {**settings.environment, **attempt.environment}
    return "\n".join(
        [
            "#!/bin/bash",
            f"exec </dev/null >>{shlex.quote(str(attempt.log.absolute()))} 2>&1 || exit 1",
            f"hostname >{shlex.quote(str(folder / STARTED))} || exit 1",
            # Lightning would take the job for a part of a training that srun has started.
            "unset SLURM_NTASKS SLURM_NPROCS",
            # Then it advises srun, with which no run works.
            f'export PYTHONWARNINGS="${{PYTHONWARNINGS:+$PYTHONWARNINGS,}}"{shlex.quote(f"ignore:{ADVICE}")}',
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
            *([settings.setup.rstrip("\n")] if settings.setup else []),
            # In the shell's place, so that the signals of scancel and of the time limit reach the run itself.
            f"exec {shlex.join(command)}",
            "",
        ]
    )


EXECUTOR = SlurmExecutor
