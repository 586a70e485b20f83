"""The protocols of an executor, which starts a comparison's jobs, and of a job that it has started."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.errors import UserError
from peft_lightning.runs.progress import Progress

# Seconds that a run has after Ctrl-C to write its record. Then it is killed; --resume continues its last checkpoint.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class ExecutorOptions:
    """How an executor starts runs; each takes what concerns it.

    Args:
        cold_starts: Whether every run starts Python and imports everything itself.
        share_gpu: Number of runs at the same time on a GPU, or on the CPU where there is none; 1 gives each run the
            device to itself.
        settings: A file with what else the executor wants to know.
        address: Where the executor's cluster is; None for the one that it finds.
    """

    cold_starts: bool = False
    share_gpu: int = 1
    settings: Path | None = None
    address: str | None = None

    def words(self) -> list[str]:
        """Returns the command-line words that ask for the same again."""
        return [
            *(["--cold_starts"] if self.cold_starts else []),
            *([f"--share_gpu {self.share_gpu}"] if self.share_gpu > 1 else []),
            *([f"--executor_settings {shlex.quote(str(self.settings))}"] if self.settings is not None else []),
            *([f"--ray_address {shlex.quote(self.address)}"] if self.address is not None else []),
        ]

    def refuse_address(self) -> None:
        """Refuses an address, which only an executor whose cluster has one takes.

        Raises:
            UserError: If there is an address.
        """
        if self.address is not None:
            raise UserError("--ray_address is for --executor ray: say so, or leave it out")


def require_one(flag: str, count: int | None) -> None:
    """Refuses a number below 1.

    Args:
        flag: The flag that says it.
        count: The number; None where it was not said.

    Raises:
        UserError: If it is below 1.
    """
    if count is not None and count < 1:
        raise UserError(f"{flag} {count}: say 1 or more")


def require_gpus(gpus_per_run: int, asked: int | None, accelerators: Sequence[object]) -> None:
    """Refuses runs of several GPUs that a cluster is not asked for.

    Args:
        gpus_per_run: The most devices that a run's ``trainer.devices`` asks for.
        asked: ``gpus`` of ``--executor_settings``.
        accelerators: What the runs ask for; those on a CPU need no GPU for their processes.

    Raises:
        UserError: If the cluster is asked for another number.
    """
    if gpus_per_run > 1 and asked != gpus_per_run and "cpu" not in accelerators:
        raise UserError(
            f"runs take {gpus_per_run} GPUs each (--devices_per_run, or trainer.devices of a recipe), and the cluster"
            f" is asked for {asked or 1}: say gpus: {gpus_per_run} in --executor_settings"
        )


class Running(Protocol):
    """A job that was started."""

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet."""
        ...

    @property
    def stays(self) -> bool:
        """Whether it goes on when this process is interrupted, so that a later one finds it."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Seconds from its start until now, or until its end."""
        ...

    def progress(self) -> Progress | None:
        """Returns the progress that the job reports; None until it has reported any."""
        ...

    def wait(self, patience_s: float) -> bool:
        """Waits for the end, ``patience_s`` seconds at most.

        Returns:
            Whether the job has ended.
        """
        ...

    def outcome(self) -> Outcome:
        """Waits for the end, ends what the job has left running, and returns how the job ended."""
        ...

    def interrupt(self) -> None:
        """Asks the job to write its record and end, as Ctrl-C does."""
        ...

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for the end, and kills the job after ``patience_s`` seconds."""
        ...

    def kill(self) -> None:
        """Ends the job and the processes that it has started at once."""
        ...


class Executor(Protocol):
    """Starts jobs. Each has a place, such as a GPU, to itself.

    Attributes:
        elsewhere: Whether jobs run on other machines than this one, whose devices say nothing of theirs.
    """

    elsewhere: bool

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        """Chooses the places for jobs that run at the same time.

        Args:
            count: Number of jobs at the same time; None for the executor's own choice.
            accelerators: The values of ``trainer.accelerator`` in the recipes.
            gpus_per_run: The most devices that a run's ``trainer.devices`` asks for.

        Returns:
            The name of each place; None for a place that is the whole machine.

        Raises:
            UserError: If there are fewer places.
        """
        ...

    def start(self, job: Job, place: str | None) -> Running:
        """Starts a job.

        Args:
            job: The job.
            place: One of the names that ``places`` returned.

        Raises:
            UserError: If it cannot be started.
        """
        ...


@dataclass(frozen=True)
class Pool:
    """An executor, and the places where it runs jobs at the same time.

    Args:
        executor: Starts the jobs.
        places: The name of each place; None for a place that is the whole machine.
    """

    executor: Executor
    places: Sequence[str | None]
