"""Runs jobs, each alone in its place, in their order; what has finished is not run again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from peft_lightning.compare.execution.board import Row, View
from peft_lightning.compare.execution.executor import Pool, Running
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, finished_before, has_failed

# Between two looks at what runs. A drawn table costs 5 ms of a processor that the measured run may want.
LOOK_EVERY_S = 0.5


def run_jobs(
    jobs: Sequence[Job],
    pool: Pool,
    view: View,
    after: Callable[[Job, Outcome], None] = lambda job, outcome: None,
    before: Callable[[Path], Outcome | None] = finished_before,
) -> list[Outcome]:
    """Runs what has not finished yet; a job that fails leaves the others alone.

    Args:
        jobs: The jobs, in the order in which they start.
        pool: Who starts them, and where.
        view: Shows how it goes.
        after: Is told of every job that ends, and may end the work by raising.
        before: Says of a job's folder how the run in it ended, if that needs not run again.

    Returns:
        How each ended, in the order of the jobs.

    Raises:
        UserError: A job cannot be started.
        KeyboardInterrupt: Ctrl-C, after the runs have written their records.
        OSError: The view cannot be written any more; as after Ctrl-C.
    """
    rows = [Row(job, _ended(job, before)) for job in jobs]
    waiting = deque(row for row in rows if row.outcome is None)
    free = deque(pool.places)
    started: list[tuple[Row, Running, str | None]] = []
    view.begin(rows)
    try:
        while waiting or started:
            while waiting and free:
                row, place = waiting.popleft(), free.popleft()
                started.append((row, pool.executor.start(row.job, place), place))
                row.started = True
                view.started(row)
            for row, running, place in list(started):
                row.elapsed_s = running.elapsed_s
                if running.running:
                    row.progress = running.progress()
                    continue
                row.outcome = running.outcome()
                started.remove((row, running, place))
                free.append(place)
                view.ended(row)
                after(row.job, row.outcome)
            view.update()
            time.sleep(LOOK_EVERY_S)
    except (KeyboardInterrupt, OSError):  # the second when what the view writes to is gone: its pipe, its terminal
        _interrupt([running for _, running, _ in started])
        raise
    finally:
        for _, running, _ in started:
            running.kill()
        # How the work ended matters more than the last picture of it.
        with suppress(OSError):
            view.end()
    return [row.outcome for row in rows if row.outcome is not None]


def say_tried_again(jobs: Sequence[Job]) -> None:
    """Says which jobs failed before and are tried again.

    Args:
        jobs: The jobs.
    """
    if again := [job.title for job in jobs if has_failed(job.folder)]:
        print(f"tried again, because they failed: {', '.join(again)}", flush=True)


def _ended(job: Job, before: Callable[[Path], Outcome | None]) -> Outcome | None:
    """Returns how a job ended that needs not run again: a run of other settings that lies in its place is none."""
    if names := job.unlike():
        print(f"{job.title} trains anew: the run in its folder was of another {', '.join(names)}", flush=True)
        return None
    return before(job.folder)


def _interrupt(started: Sequence[Running]) -> None:
    for running in started:
        running.interrupt()
    if started:
        # Told first and said afterwards: Ctrl-C has ended `| tee log` too, and who should read this may be gone.
        with suppress(OSError):
            print("stopping: what runs writes its record first (Ctrl-C again ends it at once)", flush=True)
    for running in started:
        running.stop()
