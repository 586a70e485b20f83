"""Runs jobs, each alone in a fresh process, one a device, in their order; what has finished is not run again."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.board import Row, View
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.local import Child
from peft_lightning.compare.execution.outcomes import Outcome, finished_before, has_failed
from peft_lightning.runs.progress import read_progress

# Between two looks at the children. A drawn table costs 5 ms of a processor that the measured run may want.
LOOK_EVERY_S = 0.5


def run_jobs(
    jobs: Sequence[Job],
    devices: Sequence[str | None],
    view: View,
    after: Callable[[Job, Outcome], None] = lambda job, outcome: None,
    before: Callable[[Path], Outcome | None] = finished_before,
) -> list[Outcome]:
    """Runs what has not finished yet; a job that fails leaves the others alone.

    Args:
        jobs: The jobs, in the order in which they start.
        devices: The GPU of each place; None for all that there is.
        view: Shows how it goes.
        after: Is told of every job that ends, and may end the work by raising.
        before: Says of a job's folder how the run in it ended, if that needs not run again.

    Returns:
        How each ended, in the order of the jobs.

    Raises:
        UserError: A job cannot be started.
        KeyboardInterrupt: Ctrl-C, after the children have written their records.
        OSError: The view cannot be written any more; as after Ctrl-C.
    """
    rows = [Row(job, _ended(job, before)) for job in jobs]
    waiting = deque(row for row in rows if row.outcome is None)
    free = deque(devices)
    running: list[tuple[Row, Child]] = []
    view.begin(rows)
    try:
        while waiting or running:
            while waiting and free:
                row = waiting.popleft()
                running.append((row, Child(row.job, free.popleft())))
                row.started = True
                view.started(row)
            for row, child in list(running):
                row.elapsed_s = child.elapsed_s
                if child.running:
                    row.progress = read_progress(child.progress)
                    continue
                row.outcome = child.outcome()
                running.remove((row, child))
                free.append(child.device)
                view.ended(row)
                after(row.job, row.outcome)
            view.update()
            time.sleep(LOOK_EVERY_S)
    except (KeyboardInterrupt, OSError):  # the second when what the view writes to is gone: its pipe, its terminal
        _interrupt([child for _, child in running])
        raise
    finally:
        for _, child in running:
            child.kill()
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
    if names := unlike_asked(job):
        print(f"{job.title} trains anew: the run in its folder was of another {', '.join(names)}", flush=True)
        return None
    return before(job.folder)


def _interrupt(children: Sequence[Child]) -> None:
    for child in children:
        child.interrupt()
    if children:
        # Told first and said afterwards: Ctrl-C has ended `| tee log` too, and who should read this may be gone.
        with suppress(OSError):
            print("stopping: what runs writes its record first (Ctrl-C again ends it at once)", flush=True)
    for child in children:
        child.stop()
