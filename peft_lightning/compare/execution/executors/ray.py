"""Runs jobs on the nodes of a Ray cluster, which end with this process.

As tasks and not by Ray's job submission, which needs its dashboard: a task is a process of its own on a node that has
the GPUs free, Ctrl-C reaches it as a KeyboardInterrupt, and it ends with the comparison, as a process of one machine
does. A run whose node is lost is started again from its last checkpoint, wherever there is room.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.compare.execution.cluster_job import ClusterJob
from peft_lightning.compare.execution.cluster_settings import read_settings
from peft_lightning.compare.execution.executor import PATIENCE_S, ExecutorOptions, require_gpus, require_one
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.node_task import Files
from peft_lightning.compare.execution.outcomes import Outcome, keep_failure
from peft_lightning.compare.execution.ray_cluster import Demand, Failed, Lost, RayCluster
from peft_lightning.compare.execution.ray_settings import RaySettings
from peft_lightning.compare.execution.shared_folder import MOST_IN_VAIN, check_renames
from peft_lightning.errors import UserError
from peft_lightning.runs.process_start import SHARED
from peft_lightning.runs.progress import Progress, forget_progress

if TYPE_CHECKING:
    from peft_lightning.compare.execution.ray_cluster import Task

# The run's node writes its name here before anything else.
STARTED = "ray_node.txt"
# Held by the run's process as long as it lives.
LOCK = "ray.lock"
INTERRUPTED = 130


class RayExecutor:
    """Runs each job on a node of a Ray cluster; the working directory must be one that the nodes share.

    Args:
        options: How it starts jobs.

    Raises:
        UserError: If the settings cannot be read, or there is no cluster.
    """

    elsewhere = True

    def __init__(self, options: ExecutorOptions = ExecutorOptions()) -> None:  # noqa: B008 it is frozen
        require_one("--share_gpu", options.share_gpu)
        self._settings = read_settings(options.settings, RaySettings)
        self._share = options.share_gpu
        if self._share > 1 and (self._settings.gpus or 1) > 1:
            raise UserError(f"--share_gpu {self._share}: runs of {self._settings.gpus} GPUs each share none")
        self._cluster = RayCluster(options.address)
        self._demand = Demand(0, 1, {})

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        """Returns a place for each job that the cluster holds at the same time; Ray chooses nodes and GPUs."""
        require_one("--jobs", count)
        require_gpus(gpus_per_run, self._settings.gpus, accelerators)
        check_renames(Path.cwd())
        nodes = self._cluster.nodes()
        self._demand = _demand(self._settings, nodes, "cpu" not in accelerators, self._share)
        room = sum(self._demand.fits(node) for node in nodes)
        if not room:
            print(f"note: no node of the cluster has {self._demand}: runs wait until one joins", flush=True)
        return [None] * (count or room or 1)

    def start(self, job: Job, place: str | None) -> "RayTask":
        """Starts a job, which waits for a node that has room."""
        return RayTask(job, self._settings, self._demand, self._share, self._cluster)


class RayTask(ClusterJob):
    """A job on a node of a Ray cluster, or waiting for one.

    Args:
        job: The job.
        settings: What runs ask Ray for.
        demand: What it takes up.
        share: Number of runs that share its device.
        cluster: The cluster.
    """

    def __init__(self, job: Job, settings: RaySettings, demand: Demand, share: int, cluster: RayCluster) -> None:
        super().__init__(job, STARTED)
        self._settings, self._demand, self._share, self._cluster = settings, demand, share, cluster
        self._end: int | Lost | Failed | None = None
        self._attempt, self._task = self._started()

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet; one whose node is lost is started again.

        Raises:
            UserError: If what its node writes is not seen here.
        """
        if self._began is None and self._folder.started():
            self._began = time.monotonic()
        if self._end is not None:
            return False
        if not self._cluster.ended(self._task):
            return True
        end = self._cluster.exit_code(self._task)
        if isinstance(end, Lost) and not self._stopping and self._folder.may_go_on():
            self._began = None
            self._attempt, self._task = self._started()
            return True
        if isinstance(end, int) and end >= 0:
            self._folder.await_start("Ray's")
        self._end, self._ended = end, time.monotonic()
        return False

    @property
    def stays(self) -> bool:
        """Nothing outlives this process."""
        return False

    def progress(self) -> Progress | None:
        """Returns the progress that the job reports; that it waits for a node, before it has started."""
        if self._began is None:
            return Progress("waiting for a node", 0, None, 0.0)
        return self._reported()

    def outcome(self) -> Outcome:
        """Waits for the end, and returns how the job ended."""
        self.wait(math.inf)
        end = self._end
        if isinstance(end, int):
            # Ray forgets the exit code of a task that it was asked to end.
            code = INTERRUPTED if self._stopping and end < 0 else end
            return self._attempt.outcome(code, self.elapsed_s)
        outcome = self._attempt.outcome(1, self.elapsed_s)
        if outcome.finished or self._stopping:
            return outcome
        if isinstance(end, Failed):
            outcome = replace(outcome, status=end.status, error=end.why)
        elif isinstance(end, Lost):
            why = f"its node was lost {MOST_IN_VAIN} times before its next checkpoint ({end.why}): --resume tries again"
            outcome = replace(outcome, status="failed", error=why)
        keep_failure(self._job.folder, outcome)
        return outcome

    def interrupt(self) -> None:
        """Asks the job to write its record and end."""
        if self.running:
            self._stopping = True
            self._cluster.interrupt(self._task)

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the end, and kills the job after ``patience_s`` seconds."""
        if not self.wait(patience_s):
            self.kill()
        if self._attempt.progress is not None:
            forget_progress(self._attempt.progress)

    def kill(self) -> None:
        """Ends the job and the processes that it has started at once."""
        if self.running:
            self._stopping = True
            self._cluster.kill(self._task)

    def _started(self) -> "tuple[Attempt, Task]":
        attempt = self._job.attempt()
        self._folder.forget_start()
        words = [self._settings.python or sys.executable, *attempt.command]
        folder = self._job.folder.absolute()
        files = Files(attempt.directory or Path.cwd(), attempt.log.absolute(), folder / STARTED, folder / LOCK)
        shared = {SHARED: str(self._share)} if self._share > 1 else {}
        environment = {**self._settings.environment, **attempt.environment, **shared}
        return attempt, self._cluster.start(self._demand, words, files, environment)


def _demand(settings: RaySettings, nodes: Sequence[Mapping[str, float]], on_gpu: bool, share: int) -> Demand:
    """Returns what a run takes up: what the settings say, else a GPU with its share of a node's cores."""
    with_gpus = [node for node in nodes if node.get("GPU")] if on_gpu else []
    gpus = settings.gpus if settings.gpus is not None else int(bool(with_gpus))
    if gpus:
        cores = min((node.get("CPU", 1) // node["GPU"] for node in with_gpus), default=1) * gpus
    else:
        cores = min((node["CPU"] for node in nodes if node.get("CPU")), default=1)
    cpus = settings.cpus if settings.cpus is not None else max(1, int(cores // share))
    return Demand(gpus / share, cpus, settings.resources)


EXECUTOR = RayExecutor
