"""Runs the short fits that a forecast is made from: a few steps of each recipe, each in its own process."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob, fit_job
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, newest_run
from peft_lightning.compare.execution.runner import run_jobs
from peft_lightning.compare.plan.overrides import values_of
from peft_lightning.compare.plan.sweep import Part
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


def make_forecasts(parts: Sequence[Part], pool: Pool, tries: int = 0) -> list[Forecast]:
    """Tries a few steps of each recipe at each value, and writes the forecast for each value's comparison.

    Args:
        parts: The comparisons.
        pool: The executor and the places of their runs.
        tries: Number of learning rates that are tried for each recipe before the runs.

    Returns:
        The forecast for each part.

    Raises:
        UserError: If a recipe or a value is refused.
    """
    jobs = [forecast_jobs(part) for part in parts]
    for part in parts:
        shutil.rmtree(part.folder / "forecast", ignore_errors=True)
    # The first recipe is tried at every value first, so that a wrong value shows before the other recipes are tried.
    in_order = [job for of_recipe in zip(*jobs, strict=True) for job in of_recipe]
    ended = dict(
        zip((job.folder for job in in_order), run_jobs(in_order, pool, _Lines(), refuse_mistakes), strict=True)
    )
    forecasts = []
    for part, own in zip(parts, jobs, strict=True):
        settings = [values_of(part.plan.settings_of(recipe)) for recipe in part.plan.recipes]
        recipes = [forecast_of(job, ended[job.folder], of) for job, of in zip(own, settings, strict=True)]
        made = Forecast(without_first_start(recipes), None)
        if len(made.run_s) == len(recipes):
            whole = len(part.plan.seeds) * sum(made.run_s.values()) + tries * sum(made.try_s.values())
            made = replace(made, total_s=whole / len(pool.places))
        made.write(part.folder)
        shutil.rmtree(part.folder / "forecast", ignore_errors=True)
        forecasts.append(made)
    return forecasts


def forecast_jobs(part: Part) -> list[FitJob]:
    """Returns the job of a short fit for each recipe of a comparison."""
    first = replace(part.plan, seeds=part.plan.seeds[:1])
    return [
        fit_job(run, "forecast", part.folder / "forecast" / run.label, SHORTENED, part.value)
        for run in first.runs(part.folder)
    ]


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
        raise UserError(f"{job.variant}: {outcome.error}")
    if not outcome.finished:
        print(f"forecast: {job.variant}: {outcome.status.replace('_', ' ')}: {outcome.error}", flush=True)


class _Lines:
    """Prints a line for each short fit; a forecast is too short for a table."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Prints nothing."""

    def started(self, row: Row) -> None:
        """Prints which recipe is tried."""
        print(f"forecast: a few steps of {row.job.variant}", flush=True)

    def update(self) -> None:
        """Prints nothing."""

    def ended(self, row: Row) -> None:
        """Prints nothing: the table of the forecast follows."""

    def end(self) -> None:
        """Prints nothing."""
