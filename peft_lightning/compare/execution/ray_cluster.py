"""A Ray cluster: the connection, the resources of its nodes, and the programs that it runs on them."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from peft_lightning.compare.execution import launcher
from peft_lightning.compare.execution.node_task import Files, node_task
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import ray

    Task: TypeAlias = "ray.ObjectRef[int]"

ANSWERS_AFTER_S = 10.0


@dataclass(frozen=True)
class Demand:
    """What a run takes up.

    Args:
        gpus: Number of GPUs, or a share of one.
        cpus: Number of processor cores.
        resources: Further resources by name.
    """

    gpus: float
    cpus: float
    resources: Mapping[str, float]

    def fits(self, node: Mapping[str, float]) -> int:
        """Returns how many such runs a node with these resources holds at the same time."""
        asked = {"GPU": self.gpus, "CPU": self.cpus, **self.resources}
        return min((int(node.get(name, 0.0) / amount + 1e-9) for name, amount in asked.items() if amount), default=1)

    def __str__(self) -> str:
        """Returns it in words."""
        asked = {"GPUs": self.gpus, "CPUs": self.cpus, **self.resources}
        return ", ".join(f"{amount:g} {name}" for name, amount in asked.items() if amount)


class RayCluster:
    """The cluster that this process has joined.

    Args:
        address: ``HOST:PORT`` of its head; None for the one that RAY_ADDRESS or this machine's ``ray start`` names.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("--executor ray: Ray is not installed: pip install 'peft-lightning[ray]'") from error
        self._ray = ray
        if not ray.is_initialized():
            self._join(address)

    def nodes(self) -> list[Mapping[str, float]]:
        """Returns the resources of each node that is alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

    def start(self, demand: Demand, words: Sequence[str], files: Files, environment: Mapping[str, str]) -> Task:
        """Starts a program on a node that has what it takes, now or when one has.

        Args:
            demand: What it takes up.
            words: The Python interpreter and its words.
            files: The files that the node writes, and the working directory.
            environment: Environment variables besides those of the node.

        Returns:
            What stands for the program's exit code.
        """
        # Ray starts a task that lost its node again; here an attempt has to be prepared anew before.
        task = self._ray.remote(max_retries=0, max_calls=1)(node_task())
        options = {"num_gpus": demand.gpus, "num_cpus": demand.cpus, "resources": dict(demand.resources)}
        source = Path(launcher.__file__).read_text(encoding="utf-8")
        return task.options(**options).remote(
            source, list(words), {name: str(path) for name, path in asdict(files).items()}, dict(environment)
        )

    def ended(self, task: Task) -> bool:
        """Tells whether a program has ended, without waiting for it."""
        done, _ = self._ray.wait([task], timeout=0)
        return bool(done)

    def exit_code(self, task: Task) -> int | Lost | Failed:
        """Returns the exit code of a program that has ended, or why there is none."""
        from ray import exceptions

        try:
            code: int = self._ray.get(task)
        except exceptions.TaskCancelledError:
            return -int(signal.SIGKILL)
        except exceptions.OutOfMemoryError as error:
            return Failed("out_of_memory", f"Ray ended it, since its node ran out of memory: {_line(error)}")
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            return Lost(_line(error))
        except exceptions.RayError as error:
            return Failed("failed", f"Ray could not run it: {_line(error)}")
        return code

    def interrupt(self, task: Task) -> None:
        """Raises KeyboardInterrupt in a task; one that waits never starts."""
        self._ray.cancel(task)

    def kill(self, task: Task) -> None:
        """Ends the process of a task, and with it the program."""
        self._ray.cancel(task, force=True)

    def _join(self, address: str | None) -> None:
        address = address or os.environ.get("RAY_ADDRESS") or "auto"
        if address != "auto":
            _check_answers(address)
        # Ray takes SIGTERM for itself, and would leave the records of runs unwritten.
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        # It raises RuntimeError for another version of Ray or Python, ValueError for what is no address.
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise _no_cluster(address, error) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Lost:
    """The end of a task whose node or worker is gone.

    Args:
        why: Ray's words.
    """

    why: str


@dataclass(frozen=True)
class Failed:
    """The end of a task that Ray itself ended.

    Args:
        status: The status of the run.
        why: The reason in words.
    """

    status: Literal["failed", "out_of_memory"]
    why: str


def _check_answers(address: str) -> None:
    """Refuses an address where nothing listens, which Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UserError(f"--executor ray: {address} is no address of a cluster: say --ray_address HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_AFTER_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    if address == "auto":  # Ray's own words name flags of its own
        return UserError(
            "--executor ray: no Ray cluster runs on this machine: start one with ray start --head, or name its head"
            " with --ray_address HOST:PORT"
        )
    return UserError(
        f"--executor ray: no Ray cluster answers at {address} ({_line(error)}): start one with ray start --head, or"
        " name its head with --ray_address HOST:PORT"
    )


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
