"""What a comparison will take: a few steps of each recipe, each in its own process, before the first run starts."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from peft_lightning.compare.board import Row, peak_memory
from peft_lightning.compare.job import Job, job_of
from peft_lightning.compare.pairing import overrides_as_overlay
from peft_lightning.compare.plan import Plan
from peft_lightning.compare.runner import run_jobs
from peft_lightning.compare.runs_on_disk import Outcome, newest_run
from peft_lightning.compare.workload import Workload, workload
from peft_lightning.errors import UserError
from peft_lightning.recipes import merge, read_config
from peft_lightning.runs.files import write_atomically

SCHEMA = 1
FILE = "forecast.json"
# Twice: the first time a machine chooses kernels and fills caches, the second time is what a batch takes.
EPOCHS = 2
BATCHES = 6
VALIDATION_BATCHES = 2
SHORTENED = {
    "--trainer.max_epochs": EPOCHS,
    "--trainer.max_steps": -1,
    "--trainer.limit_train_batches": BATCHES,
    "--trainer.limit_val_batches": VALIDATION_BATCHES,
    "--trainer.val_check_interval": 1.0,
    "--trainer.check_val_every_n_epoch": 1,
    "--checkpoint.every_n_steps": 0,
    "--test_after_fit": "false",
}


@dataclass(frozen=True)
class RecipeForecast:
    """What a run of one recipe will take.

    Args:
        label: The recipe.
        startup_s: Seconds from the process's start to its first step.
        step_s: Seconds an optimiser step.
        steps: Optimiser steps of a whole run.
        test_s: Seconds of the test at its end.
        run_s: Seconds of a whole run, from start to end.
        peak_gib: Peak memory of the steps tried, which a longer batch can exceed.
        peak_of: What it is the peak of.
        error: Why there is no forecast; None if there is one.
    """

    label: str
    startup_s: float | None = None
    step_s: float | None = None
    steps: int | None = None
    test_s: float | None = None
    run_s: float | None = None
    peak_gib: float | None = None
    peak_of: str = "memory"
    error: str | None = None


@dataclass(frozen=True)
class Forecast:
    """What a comparison will take.

    Args:
        recipes: What a run of each recipe will take.
        total_s: Seconds of the whole comparison; None where a recipe has no forecast.
    """

    recipes: tuple[RecipeForecast, ...]
    total_s: float | None

    @property
    def run_s(self) -> dict[str, float]:
        """Seconds of a run, by label, where that is known."""
        return {recipe.label: recipe.run_s for recipe in self.recipes if recipe.run_s is not None}

    @property
    def try_s(self) -> dict[str, float]:
        """Seconds of a run that is not tested, by label, where that is known."""
        tests = {recipe.label: recipe.test_s or 0.0 for recipe in self.recipes}
        return {label: run_s - tests[label] for label, run_s in self.run_s.items()}

    def write(self, folder: Path) -> None:
        """Keeps the forecast.

        Args:
            folder: The comparison's folder.
        """
        content = {"schema": SCHEMA, **asdict(self)}
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_forecast(folder: Path) -> Forecast | None:
    """Reads the forecast of a comparison; None where none was made, or none that this version understands.

    Args:
        folder: The comparison's folder.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            return None
        return Forecast(tuple(RecipeForecast(**recipe) for recipe in content["recipes"]), content["total_s"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def make_forecast(plan: Plan, folder: Path, devices: Sequence[str | None], tries: int = 0) -> Forecast:
    """Tries a few steps of each recipe, and keeps what that says of the whole comparison.

    Args:
        plan: The comparison.
        folder: Its folder.
        devices: The GPU of each place where runs take place; None for all that there is.
        tries: Learning rates that are tried for each recipe before the runs.

    Raises:
        UserError: If a recipe is refused.
    """
    scratch = folder / "forecast"
    shutil.rmtree(scratch, ignore_errors=True)
    jobs = forecast_jobs(plan, folder)
    outcomes = run_jobs(jobs, devices, _Lines(), _refuse_mistakes)
    settings = [merge(recipe.settings, overrides_as_overlay(plan.overrides)) for recipe in plan.recipes]
    recipes = [forecast_of(*of) for of in zip(jobs, outcomes, settings, strict=True)]
    made = Forecast(tuple(recipes), None)
    if len(made.run_s) == len(recipes):
        whole = len(plan.seeds) * sum(made.run_s.values()) + tries * sum(made.try_s.values())
        made = replace(made, total_s=whole / len(devices))
    made.write(folder)
    shutil.rmtree(scratch, ignore_errors=True)
    return made


def forecast_jobs(plan: Plan, folder: Path) -> list[Job]:
    """Returns a short fit of each recipe.

    Args:
        plan: The comparison.
        folder: Its folder.
    """
    words = [word for name, value in SHORTENED.items() for word in (f"{name}={value}",)]
    first = replace(plan, seeds=plan.seeds[:1])
    return [job_of(run, "forecast", folder / "forecast" / run.label, *words) for run in first.runs(folder)]


def forecast_of(job: Job, outcome: Outcome, settings: dict[str, Any]) -> RecipeForecast:
    """Reads out of a short fit what a whole run takes.

    Args:
        job: The short fit.
        outcome: How it ended.
        settings: What the recipe says of a whole run, overrides included.
    """
    record, run = outcome.record, newest_run(job.folder)
    if not outcome.finished or record is None or record.dataset is None or run is None:
        return RecipeForecast(job.label, error=f"{outcome.status.replace('_', ' ')}: {outcome.error}")
    resolved = read_config(run / "config.yaml")
    tried = workload(resolved["trainer"], resolved["data"], record.dataset)
    planned = workload(settings.get("trainer") or {}, resolved["data"], record.dataset)
    return project(job.label, outcome, tried, planned)


def project(label: str, outcome: Outcome, tried: Workload, planned: Workload) -> RecipeForecast:
    """Goes from the batches that were tried to all of a run.

    Args:
        label: The recipe.
        outcome: How the short fit ended, with its record and its seconds.
        tried: The batches of the short fit.
        planned: The batches of a whole run.
    """
    record = outcome.record
    if record is None or len(record.time.epoch_s) != EPOCHS or not tried.train:
        return RecipeForecast(label, error="the steps tried were not timed")
    first_s, usual_s = record.time.epoch_s
    batch_s = usual_s / (tried.train / EPOCHS)
    eval_s = record.time.eval_s or 0.0
    eval_batch_s = eval_s / tried.validation if tried.validation else 0.0
    # What a run takes once, however long it is: starting, the slow first steps, writing, ending.
    once_s = (outcome.wall_s or 0.0) - sum(record.time.epoch_s) - eval_s + max(0.0, first_s - usual_s)
    test_s = planned.test * eval_batch_s
    peak_gib, peak_of = peak_memory(record.memory)
    return RecipeForecast(
        label=label,
        startup_s=record.time.startup_s,
        step_s=batch_s * planned.train / planned.steps if planned.steps else None,
        steps=planned.steps,
        test_s=test_s,
        run_s=once_s + planned.train * batch_s + planned.validation * eval_batch_s + test_s,
        peak_gib=peak_gib,
        peak_of=peak_of,
    )


def _refuse_mistakes(job: Job, outcome: Outcome) -> None:
    if outcome.exit_code == 2 and outcome.status == "failed":
        raise UserError(f"{job.label}: {outcome.error}")
    if not outcome.finished:
        print(f"forecast: {job.label}: {outcome.status.replace('_', ' ')}: {outcome.error}", flush=True)


class _Lines:
    """Says what is tried; a forecast is too short for a table."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Says nothing yet.

        Args:
            rows: All jobs.
        """

    def started(self, row: Row) -> None:
        """Says what is tried.

        Args:
            row: The job.
        """
        print(f"forecast: a few steps of {row.job.label}", flush=True)

    def update(self) -> None:
        """Says nothing."""

    def ended(self, row: Row) -> None:
        """Says nothing: the table that follows does.

        Args:
            row: The job.
        """

    def end(self) -> None:
        """Says nothing."""
