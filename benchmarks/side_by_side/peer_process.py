"""A peer's process as an executor starts it: alone, within a limit of time, and with a record of how it ended."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import ours
from peft_lightning.compare.execution.executor import Executor
from peft_lightning.compare.execution.job import Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.record import Status
from side_by_side.clock import STARTED
from side_by_side.driver_memory import DriverMemory
from side_by_side.peer_job import PeerJob
from side_by_side.ranks import FSDP2, figures_of, launcher

ROOT = Path(__file__).resolve().parents[2]
_LONGEST_ERROR = 300
_SAMPLE_S = 0.1
_TORCHRUN = re.compile(r"torch[/.]distributed[/.]elastic")


@dataclass(frozen=True)
class PeerProcess(Job):
    """The process of a peer's job.

    Args:
        peer_job: what to train.
        scratch: folder for what outlives the process, such as what was compiled.
        adapters_site: folder with the packages of the peer `adapters`.
    """

    peer_job: PeerJob
    scratch: Path
    adapters_site: Path | None = None

    @property
    def work(self) -> Path:
        """Where the process works."""
        return self.folder / "work"

    @property
    def result(self) -> Path:
        """The file that it writes its figures to."""
        return self.folder / "result.json"

    def attempt(self) -> Attempt:
        """Empties the folder and writes the job file."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.work.mkdir(parents=True)
        log = self.folder / "output"

        def outcome(exit_code: int, wall_s: float) -> Outcome:
            status, error = ending(exit_code, log.read_text(encoding="utf-8", errors="replace"))
            return Outcome(status, error, None, exit_code, wall_s)

        environment = _environment(self.peer_job, self.scratch, self.adapters_site)
        return Attempt(self._command(), log, outcome, environment, directory=self.work)

    def _command(self) -> tuple[str, ...]:
        if self.peer_job.peer == "ours":
            return tuple(ours.command(self.peer_job, self.result))
        path = self.folder / "job.json"
        self.peer_job.write(path)
        return (*launcher(self.peer_job.devices), "-m", "side_by_side.process", str(path), str(self.result))


def launch(
    job: PeerJob, executor: Executor, scratch: Path, time_limit_s: float, adapters_site: Path | None = None
) -> dict[str, Any]:
    """Runs a job.

    Args:
        job: what to train.
        executor: who starts its process.
        scratch: folder for what the process writes; it is emptied before and after.
        time_limit_s: seconds after which the process is killed.
        adapters_site: folder with the packages of the peer `adapters`.

    Returns:
        The job's record: `status` (`finished`, `failed`, `out_of_memory`, `timed_out` or `not_measured`), `error`,
        `process_s` and the `figures`.
    """
    if job.peer == "adapters" and adapters_site is None:
        return not_measured("no --adapters_site")
    process = PeerProcess(job.peer, job.key, scratch / "process", job, scratch, adapters_site)
    memory = DriverMemory()
    running = executor.start(process, None)
    try:
        while not (in_time := running.wait(_SAMPLE_S)) and running.elapsed_s < time_limit_s:
            memory.sample()
    finally:
        running.kill()
    outcome = running.outcome()
    figures = figures_of(process.result, job.devices)
    if job.peer == "ours":
        figures |= ours.recorded(process.work)
    figures["peak_driver_gib"] = memory.peak_gib
    status, error = (outcome.status, outcome.error) if in_time else ("timed_out", None)
    if status == "finished" and job.kind != "floor" and "ms_per_step" not in figures:
        status, error = "failed", "the process ended well and the clock never saw the last step"
    shutil.rmtree(process.folder, ignore_errors=True)
    return {"status": status, "error": error, "process_s": outcome.wall_s, "figures": figures}


def not_measured(why: str) -> dict[str, Any]:
    """The record of a job that was not started."""
    return {"status": "not_measured", "error": why, "process_s": None, "figures": {}}


def ending(exit_code: int, output: str) -> tuple[Status, str | None]:
    """Says how a process ended.

    Args:
        exit_code: negative if a signal ended it.
        output: what it printed.

    Returns:
        The status, and the last line where something went wrong.
    """
    if exit_code == 0:
        return "finished", None
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    # What torchrun adds, once a rank has ended, says nothing of why.
    rank_lines = list(itertools.takewhile(lambda line: not _TORCHRUN.search(line), lines))
    lines = [re.sub(r"^\[rank\d+\]:\s*", "", line) for line in rank_lines] or lines
    error = lines[-1][:_LONGEST_ERROR] if lines else f"exit code {exit_code}"
    out_of_memory = "OutOfMemoryError" in output or "out of memory" in output.lower()
    return ("out_of_memory" if out_of_memory or exit_code == -signal.SIGKILL else "failed"), error


def _environment(job: PeerJob, scratch: Path, adapters_site: Path | None) -> Mapping[str, str]:
    site = [str(adapters_site)] if job.peer == "adapters" and adapters_site is not None else []
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    # A whole job starts cold, as a user's first does; where steps are timed, what was compiled may be kept.
    caches = scratch / ("process" if job.kind == "whole" else "caches")
    return {
        **(FSDP2 if job.peer == "hf-fsdp2" else {}),
        STARTED: str(time.time()),
        "PYTHONPATH": os.pathsep.join([*site, str(ROOT), str(ROOT / "benchmarks"), *inherited]),
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": str(caches / "xdg"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }
