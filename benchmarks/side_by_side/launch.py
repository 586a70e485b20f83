"""Starting a job alone in a process of its own, and saying how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers import ours
from side_by_side.job import Job
from side_by_side.memory import DriverMemory

ROOT = Path(__file__).resolve().parents[2]
_LONGEST_ERROR = 300
_SAMPLE_S = 0.1


def launch(job: Job, scratch: Path, time_limit_s: float, adapters_site: Path | None = None) -> dict[str, Any]:
    """Runs a job.

    Args:
        job: what to train.
        scratch: folder for what the process writes; it is emptied before and after.
        time_limit_s: seconds after which the process is killed.
        adapters_site: folder with the packages of the peer `adapters`.

    Returns:
        The job's record: `status` (`finished`, `failed`, `out_of_memory`, `timed_out` or `not_measured`), `error`,
        `process_s` and the `figures`.
    """
    if job.peer == "adapters" and adapters_site is None:
        return not_measured("no --adapters_site")
    record: dict[str, Any] = {}
    folder = scratch / "process"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    result = folder / "result.json"
    command = command_of(job, folder, result)
    memory = DriverMemory()
    began = time.perf_counter()
    with (folder / "output").open("w+", encoding="utf-8", errors="replace") as output:
        # A session of its own, so that the processes of loaders end with it.
        process = subprocess.Popen(
            command,
            cwd=folder / "work",
            env=_environment(job, scratch, adapters_site),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            timed_out = not _ends_within(process, time_limit_s, memory)
        finally:
            _kill_session(process)
        record["process_s"] = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    record["figures"] = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    if job.peer == "ours":
        record["figures"] |= ours.recorded(folder / "work")
    record["figures"]["peak_driver_gib"] = memory.peak_gib
    record["status"], record["error"] = outcome(process.returncode, timed_out, text)
    if record["status"] == "finished" and job.kind != "floor" and "ms_per_step" not in record["figures"]:
        record["status"], record["error"] = "failed", "the process ended well and the clock never saw the last step"
    shutil.rmtree(folder, ignore_errors=True)
    return record


def not_measured(why: str) -> dict[str, Any]:
    """The record of a job that was not started."""
    return {"status": "not_measured", "error": why, "process_s": None, "figures": {}}


def command_of(job: Job, folder: Path, result: Path) -> list[str]:
    """Returns a job's command line, with its job file written.

    Args:
        job: what to train.
        folder: where the job file goes.
        result: where the figures go.
    """
    if job.peer == "ours":
        return ours.command(job, result)
    path = folder / "job.json"
    job.write(path)
    return [sys.executable, "-m", "side_by_side.process", str(path), str(result)]


def outcome(returncode: int, timed_out: bool, output: str) -> tuple[str, str | None]:
    """Says how a process ended.

    Args:
        returncode: its exit code.
        timed_out: whether it was killed at its time limit.
        output: what it printed.

    Returns:
        The status, and the last line where something went wrong.
    """
    if timed_out:
        return "timed_out", None
    if returncode == 0:
        return "finished", None
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    said = lines[-1][:_LONGEST_ERROR] if lines else f"exit code {returncode}"
    out_of_memory = "OutOfMemoryError" in output or "out of memory" in output.lower()
    return ("out_of_memory" if out_of_memory or returncode == -signal.SIGKILL else "failed"), said


def _environment(job: Job, scratch: Path, adapters_site: Path | None) -> Mapping[str, str]:
    site = [str(adapters_site)] if job.peer == "adapters" and adapters_site is not None else []
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([*site, str(ROOT), str(ROOT / "benchmarks"), *inherited])
    environment["HF_HUB_OFFLINE"] = "1"
    # A whole job starts cold, as a user's first does; where steps are timed, what was compiled may be kept.
    caches = scratch / ("process" if job.kind == "whole" else "caches")
    environment["XDG_CACHE_HOME"] = str(caches / "xdg")
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(caches / "inductor")
    environment["TRITON_CACHE_DIR"] = str(caches / "triton")
    return environment


def _ends_within(process: subprocess.Popen[Any], time_limit_s: float, memory: DriverMemory) -> bool:
    """Waits, sampling the GPU's memory."""
    until = time.monotonic() + time_limit_s
    while time.monotonic() < until:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SAMPLE_S)
            return True
        memory.sample()
    return False


def _kill_session(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
