"""Waves of runs: all of a wave start up at once, and are then timed one after the other, alone on the machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.compare.execution.executor import Executor, Running
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.recipes import Config, merge
from side_by_side.gates import Gate
from side_by_side.turn_clock import CLOCK, END, READY, TURN

_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Steps:
    """The steps of a run.

    Args:
        warmup: before it waits for its turn.
        settle: after that, before the clock starts.
        timed: by the clock.
    """

    warmup: int
    settle: int
    timed: int

    @property
    def all(self) -> int:
        """All of them, and one more: no run ends with the clock's last reading."""
        return self.warmup + self.settle + self.timed + 1


@dataclass(frozen=True)
class Timed:
    """A run that has been through its wave.

    Args:
        outcome: how it ended.
        from_until_s: the clock's two readings, which no other run's lie between; None where there are none.
        late: what it did not do in time, in words; None where it was in time.
    """

    outcome: Outcome
    from_until_s: tuple[float, float] | None
    late: str | None


class Wave:
    """Runs that are timed in turns.

    Args:
        folder: the wave's folder; each run has one in it, by its name.
        settings: what `fit` reads for each run, by the run's name.
        steps: the steps of each run.
    """

    def __init__(self, folder: Path, settings: dict[str, Config], steps: Steps) -> None:
        self._folder = folder
        self._jobs = {name: self._job(name, stated, steps) for name, stated in settings.items()}

    def run(self, executor: Executor, patience_s: float, say: Callable[[str], None]) -> dict[str, Timed]:
        """Runs all of them.

        Args:
            executor: who starts them.
            patience_s: seconds that all together have for their start-up, and each for its timed steps.
            say: prints a line.

        Returns:
            What became of each, by its name.
        """
        for job in self._jobs.values():
            job.folder.mkdir(parents=True)
        turns = {name: Gate(job.folder / TURN) for name, job in self._jobs.items()}
        end = Gate(self._folder / END)
        running: dict[str, Running] = {}
        late: dict[str, str] = {}
        try:
            for name, job in self._jobs.items():
                running[name] = executor.start(job, None)
            began = time.monotonic()
            if not _await(lambda: all(self._is_ready(name, running[name]) for name in running), patience_s):
                late = {n: "its first steps" for n in running if not self._is_ready(n, running[n])}
                _kill([running[name] for name in late])
            say(f"{len(running)} runs are ready after {time.monotonic() - began:.0f} s")
            for name in running:
                if running[name].running:
                    turns[name].open()
                    if not _await(lambda name=name: self._is_timed(name, running[name]), patience_s):  # type: ignore[misc]
                        late[name] = "its timed steps"
                        _kill([running[name]])
            end.open()
            for process in running.values():
                process.stop(patience_s)
        finally:
            _kill(list(running.values()))
            for gate in (*turns.values(), end):
                gate.open()
        return {name: Timed(running[name].outcome(), self._clocked(name), late.get(name)) for name in running}

    def _job(self, name: str, stated: Config, steps: Steps) -> FitJob:
        folder = self._folder / name.replace("/", "_")
        clock = {
            "class_path": "side_by_side.turn_clock.TurnClock",
            "init_args": {
                "folder": str(folder),
                "end": str(self._folder / END),
                "warmup_steps": steps.warmup,
                "settle_steps": steps.settle,
                "steps": steps.timed,
            },
        }
        trainer = {
            "callbacks": [clock],
            "max_steps": steps.all,
            "max_epochs": -1,
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
        }
        own = {"trainer": trainer, "checkpoint": {"every_n_steps": 0}, "test_after_fit": False, "rehearsal": True}
        return FitJob(name, "steps", folder, merge(stated, own))

    def _is_ready(self, name: str, process: Running) -> bool:
        return (self._jobs[name].folder / READY).exists() or not process.running

    def _is_timed(self, name: str, process: Running) -> bool:
        return (self._jobs[name].folder / CLOCK).exists() or not process.running

    def _clocked(self, name: str) -> tuple[float, float] | None:
        file = self._jobs[name].folder / CLOCK
        if not file.is_file():
            return None
        began, ended = json.loads(file.read_text(encoding="utf-8"))
        return began, ended


def _await(happens: Callable[[], bool], patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while not happens():
        if time.monotonic() >= until:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _kill(processes: Sequence[Running]) -> None:
    for process in processes:
        process.kill()
