"""Real processes that talk through gloo, each of which calls a function of a test module."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

T = TypeVar("T")


def in_processes(count: int, work: Callable[..., T], *arguments: object) -> list[T]:
    """Calls a function in so many processes at the same time, and returns what each returns, by rank.

    Args:
        count: The number of processes.
        work: A function of a module, which can be pickled. A group of all processes is there when it is called.
        arguments: Its arguments, the same in all.
    """
    # One server for all tests of a session: it imports what takes seconds once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning.pytorch", "peft_lightning.module.classifier"])
    with TemporaryDirectory() as folder, ProcessPoolExecutor(count, context) as pool:
        meeting = Path(folder) / "meeting"
        calls = [pool.submit(_join, rank, count, meeting, work, arguments) for rank in range(count)]
        # Of a failure the first one: the others fail because of it.
        for call in wait(calls, return_when=FIRST_EXCEPTION).done:
            call.result()
        return [call.result() for call in calls]


def _join(rank: int, count: int, meeting: Path, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
    from torch import distributed as dist

    # What tells Lightning that its processes are there already.
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group(
        "gloo", init_method=meeting.as_uri(), rank=rank, world_size=count, timeout=timedelta(seconds=60)
    )
    try:
        return work(*arguments)
    finally:
        dist.destroy_process_group()
