"""An executor that starts no process: jobs end in this one, as a function says."""

from collections.abc import Callable, Sequence

from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress, read_progress


class InProcess:
    """The executor, and each job that it started.

    Args:
        work: What a job does; returns its exit code.
        looks: How often a job is seen running before it ends.
    """

    elsewhere = False

    def __init__(self, work: Callable[[Job], int], looks: int = 0) -> None:
        self.work, self.looks = work, looks
        self.commands: list[tuple[str, ...]] = []
        self.elapsed_s = 0.0
        self.attempt: Attempt
        self.code: int

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        return [f"here {number}" for number in range(count or 1)]

    def start(self, job: Job, place: str | None) -> "InProcess":
        started = InProcess(self.work, self.looks)
        started.attempt = job.attempt()
        started.code = self.work(job)
        self.commands.append(started.attempt.command)
        return started

    @property
    def running(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    @property
    def stays(self) -> bool:
        return False

    def progress(self) -> Progress | None:
        return read_progress(self.attempt.progress) if self.attempt.progress is not None else None

    def wait(self, patience_s: float) -> bool:
        return not self.running

    def outcome(self) -> Outcome:
        return self.attempt.outcome(self.code, self.elapsed_s)

    def interrupt(self) -> None:
        self.code = 130

    def stop(self, patience_s: float = 0.0) -> None:
        self.kill()

    def kill(self) -> None:
        self.looks = 0
