"""Working through the processes of a measurement, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from side_by_side.job_order import NONE_WORKS, jobs_of
from side_by_side.peer_job import PeerJob, identity
from side_by_side.peer_process import not_measured
from side_by_side.results import Results
from side_by_side.wanted import Wanted

# Until a process of its kind has been seen to end.
_GUESS_S = {"floor": 40.0, "trial": 40.0, "step": 40.0, "whole": 150.0}
# A process that would end with less than this to spare is not started.
_MARGIN_S = 10.0


def pending(wanted: Wanted, results: Results, retry: bool) -> list[PeerJob]:
    """Lists what is left to run.

    Args:
        wanted: what is to be measured.
        results: what has been.
        retry: run what failed or ran out of time or memory once more.
    """
    done = {"finished"} if retry else {"finished", "failed", "out_of_memory", "timed_out"}
    jobs = jobs_of(wanted, results.records)
    return [job for job in jobs if results.records.get(job.key, {}).get("status") not in done]


def expected_s(job: PeerJob, results: Results) -> float:
    """Says how long a process will take: as long as the longest like it, by peer and kind and then by kind.

    Args:
        job: the job.
        results: what has been measured.
    """
    ran = [record for record in results.records.values() if record.get("process_s") and record["kind"] == job.kind]
    alike = [record["process_s"] for record in ran if record["peer"] == job.peer]
    return float(max(alike or [record["process_s"] for record in ran] or [_GUESS_S[job.kind]]))


def work_through(
    wanted: Wanted,
    results: Results,
    run: Callable[[PeerJob, float], dict[str, Any]],
    budget_s: float | None = None,
    time_limit_s: float = 600.0,
    retry: bool = False,
    say: Callable[[str], None] = print,
) -> bool:
    """Runs what is left, one process at a time, and keeps each record as soon as it is there.

    Args:
        wanted: what is to be measured.
        results: what has been; it grows.
        run: runs a job within so many seconds.
        budget_s: seconds for all of it; a process that will not fit is left for the next call.
        time_limit_s: seconds for one process.
        retry: run what failed once more.
        say: prints a line.

    Returns:
        Whether nothing is left.
    """
    began = time.monotonic()
    tried: set[str] = set()
    for key in [key for key, record in results.records.items() if record["status"] == "not_measured"]:
        del results.records[key]  # it may be possible now
    while True:
        # Listed anew every time: a trial's outcome decides what comes after it.
        left = [job for job in pending(wanted, results, retry) if job.key not in tried]
        if not left:
            return True
        # Trials come before what they decide about.
        job, limit = left[0], time_limit_s
        if job.variant == NONE_WORKS:
            tried.add(job.key)
            results.add(job.key, identity(job) | not_measured("no variant of the HF Trainer finished its trial"))
            continue
        if budget_s is not None:
            remaining = budget_s - (time.monotonic() - began)
            if expected_s(job, results) + _MARGIN_S > remaining:
                say(f"budget: {len(left)} processes are left for the next call with the same --out")
                return False
            limit = min(limit, remaining)
        tried.add(job.key)
        record = run(job, limit)
        if record["status"] == "timed_out" and limit < time_limit_s:
            say(f"budget: {job.key} did not fit; it is left for the next call")
            return False
        results.add(job.key, identity(job) | record)
        say(f"{job.key}: {_words(record)}")


def _words(record: dict[str, Any]) -> str:
    step_ms, process_s = record["figures"].get("ms_per_step"), record["process_s"]
    parts = [record["status"] if record["status"] != "finished" else ""]
    parts += [f"{step_ms:.1f} ms per step" if step_ms else "", f"{process_s:.0f} s in all" if process_s else ""]
    return ", ".join([part for part in parts if part] + ([record["error"]] if record["error"] else []))
