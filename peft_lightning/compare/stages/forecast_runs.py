"""Runs the short fits that a forecast is made from: a few steps of each recipe, each in its own process."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob, fit_job
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, newest_run
from peft_lightning.compare.execution.runner import run_jobs
from peft_lightning.compare.plan.overrides import values_of
from peft_lightning.compare.plan.plan import Plan
from peft_lightning.compare.stages.forecast import EPOCHS, Forecast, RecipeForecast, project, without_first_start
from peft_lightning.compare.stages.run_batches import workload
from peft_lightning.errors import UserError
from peft_lightning.recipes import read_config

BATCHES = 6
VALIDATION_BATCHES = 2
SHORTENED = {
    "trainer": {
        "max_epochs": EPOCHS,
        "max_steps": -1,
        "limit_train_batches": BATCHES,
        "limit_val_batches": VALIDATION_BATCHES,
        "val_check_interval": 1.0,
        "check_val_every_n_epoch": 1,
    },
    "checkpoint": {"every_n_steps": 0},
    "test_after_fit": False,
    # A schedule of the method's own, such as AdaLoRA's, need not fit into these few steps.
    "rehearsal": True,
}


def make_forecast(plan: Plan, folder: Path, pool: Pool, tries: int = 0) -> Forecast:
    """Tries a few steps of each recipe, and writes the forecast for the whole comparison.

    Args:
        plan: The comparison.
        folder: Its folder.
        pool: The executor and the places of its runs.
        tries: Number of learning rates that are tried for each recipe before the runs.

    Raises:
        UserError: If a recipe is refused.
    """
    scratch = folder / "forecast"
    shutil.rmtree(scratch, ignore_errors=True)
    jobs = forecast_jobs(plan, folder)
    outcomes = run_jobs(jobs, pool, _Lines(), refuse_mistakes)
    settings = [values_of(plan.settings_of(recipe)) for recipe in plan.recipes]
    recipes = [forecast_of(*fitted) for fitted in zip(jobs, outcomes, settings, strict=True)]
    made = Forecast(without_first_start(recipes), None)
    if len(made.run_s) == len(recipes):
        whole = len(plan.seeds) * sum(made.run_s.values()) + tries * sum(made.try_s.values())
        made = replace(made, total_s=whole / len(pool.places))
    made.write(folder)
    shutil.rmtree(scratch, ignore_errors=True)
    return made


def forecast_jobs(plan: Plan, folder: Path) -> list[FitJob]:
    """Returns the job of a short fit for each recipe."""
    first = replace(plan, seeds=plan.seeds[:1])
    return [fit_job(run, "forecast", folder / "forecast" / run.label, SHORTENED) for run in first.runs(folder)]


def forecast_of(job: Job, outcome: Outcome, settings: dict[str, Any]) -> RecipeForecast:
    """Returns the forecast for a whole run from a short fit.

    Args:
        job: The short fit.
        outcome: How it ended.
        settings: The recipe's settings for a whole run, with the overrides.
    """
    record, run = outcome.record, newest_run(job.folder)
    if not outcome.finished or record is None or record.dataset is None or run is None:
        return RecipeForecast(job.label, error=f"{outcome.status.replace('_', ' ')}: {outcome.error}")
    resolved = read_config(run / "config.yaml")
    tried = workload(resolved["trainer"], resolved["data"], record.dataset)
    planned = workload(settings.get("trainer") or {}, resolved["data"], record.dataset)
    return project(job.label, outcome, tried, planned)


def refuse_mistakes(job: Job, outcome: Outcome) -> None:
    """Ends the comparison early if a recipe holds a mistake; prints how a short fit ended that did not finish.

    A loss that becomes NaN is not a mistake of the user but a result: the run becomes a row.

    Raises:
        UserError: If the recipe holds a mistake.
    """
    if outcome.mistake:
        raise UserError(f"{job.label}: {outcome.error}")
    if not outcome.finished:
        print(f"forecast: {job.label}: {outcome.status.replace('_', ' ')}: {outcome.error}", flush=True)


class _Lines:
    """Prints a line for each short fit; a forecast is too short for a table."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Prints nothing."""

    def started(self, row: Row) -> None:
        """Prints which recipe is tried."""
        print(f"forecast: a few steps of {row.job.label}", flush=True)

    def update(self) -> None:
        """Prints nothing."""

    def ended(self, row: Row) -> None:
        """Prints nothing: the table of the forecast follows."""

    def end(self) -> None:
        """Prints nothing."""
