"""Runs jobs in their order, each alone in its place. A job that has finished is not run again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from peft_lightning.compare.execution.board import Row, View
from peft_lightning.compare.execution.executor import Pool, Running
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, finished_before, has_failed
from peft_lightning.stop_signals import raising_again

# Seconds between two looks at the jobs. To draw the table takes 5 ms of a processor that the measured run may need.
LOOK_EVERY_S = 0.5


def run_jobs(
    jobs: Sequence[Job],
    pool: Pool,
    view: View,
    after: Callable[[Job, Outcome], None] = lambda job, outcome: None,
    before: Callable[[Path], Outcome | None] = finished_before,
) -> list[Outcome]:
    """Runs the jobs that have not finished yet. A job that fails does not end the others.

    Args:
        jobs: The jobs, in the order in which they start.
        pool: The executor and its places.
        view: Shows the state of the jobs.
        after: Is called with every job that ends, and ends the work if it raises.
        before: Returns the outcome of the run in a job's folder if it need not run again, else None.

    Returns:
        How each job ended, in the order of the jobs.

    Raises:
        UserError: A job cannot be started.
        KeyboardInterrupt: Ctrl-C, after the runs have written their records.
        OSError: The view cannot be written any more; the runs are stopped as after Ctrl-C.
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
    except (KeyboardInterrupt, OSError):  # OSError: the pipe or the terminal of the view is gone
        _interrupt([running for _, running, _ in started])
        raise
    finally:
        for _, running, _ in started:
            running.kill()
        # An error of the view must not hide the exception that ended the work.
        with suppress(OSError):
            view.end()
    return [row.outcome for row in rows if row.outcome is not None]


def say_tried_again(jobs: Sequence[Job]) -> None:
    """Prints which jobs failed earlier and are tried again."""
    if again := [job.title for job in jobs if has_failed(job.folder)]:
        print(f"tried again, because they failed: {', '.join(again)}", flush=True)


def _ended(job: Job, before: Callable[[Path], Outcome | None]) -> Outcome | None:
    """Returns the outcome of a job that need not run again; a run with other settings in its folder does not count."""
    if names := job.unlike():
        print(f"{job.title} trains anew: the run in its folder was of another {', '.join(names)}", flush=True)
        return None
    return before(job.folder)


def _interrupt(started: Sequence[Running]) -> None:
    for running in started:
        running.interrupt()
    if any(running.stays for running in started):
        with suppress(OSError):
            print("what runs is left in the queue, where --resume finds it", flush=True)
    elif started:
        # Printed after the interrupts: Ctrl-C has ended `| tee log` too, so the print may fail.
        with suppress(OSError):
            print("stopping: what runs writes its record first (Ctrl-C again ends it at once)", flush=True)
    with raising_again():
        for running in started:
            running.stop()
