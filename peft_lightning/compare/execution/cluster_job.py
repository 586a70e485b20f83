"""What jobs on a cluster have in common, whichever starts them: a folder that is shared, and a wait for a node."""

import time
from abc import ABC, abstractmethod

from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.shared_folder import SharedFolder
from peft_lightning.runs.progress import Progress, read_progress

LOOK_EVERY_S = 0.5


class ClusterJob(ABC):
    """A job on a node of a cluster, or waiting for one.

    Args:
        job: The job.
        start: The name of the file in which the node writes its own name before anything else.
    """

    _attempt: Attempt

    def __init__(self, job: Job, start: str) -> None:
        self._job = job
        self._folder = SharedFolder(job.folder, start)
        self._stopping = False
        self._began: float | None = None
        self._ended: float | None = None

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether the job has not ended yet; one that its cluster has ended too early is started again."""

    @property
    def elapsed_s(self) -> float:
        """Seconds from its start on a node until now, or until its end was noticed."""
        if self._began is None:
            return 0.0
        return (self._ended if self._ended is not None else time.monotonic()) - self._began

    def wait(self, patience_s: float) -> bool:
        """Waits for the end, ``patience_s`` seconds at most, and returns whether the job has ended."""
        until = time.monotonic() + patience_s
        while self.running:
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _reported(self) -> Progress | None:
        """Returns the progress that the node has written."""
        return read_progress(self._attempt.progress) if self._attempt.progress is not None else None
