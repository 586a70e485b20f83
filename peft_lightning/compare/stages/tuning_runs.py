"""Tries the same number of learning rates for each recipe, each in its own process, and chooses on validation."""

import inspect
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from peft_lightning.compare.display.view_choice import view_for
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob, fit_job
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, newest_run, tried_before
from peft_lightning.compare.execution.runner import run_jobs, say_tried_again
from peft_lightning.compare.plan.plan import Plan, PlannedRecipe
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.tuning import Try, Tuning, choose, rates_around
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config
from peft_lightning.task import Metric

# Tries have the first seed from here on that the comparison does not have: its runs must not be those that a rate was
# chosen by.
FIRST_SEED = 1000


def plan_tuning(plan: Plan, budget: int) -> Tuning:
    """Plans the rates to try.

    Args:
        plan: The comparison.
        budget: Number of rates for each recipe.

    Raises:
        UserError: If the budget is below 2, or an override sets the rate.
    """
    if budget < 2:
        raise UserError(f"--tune {budget}: a choice takes 2 learning rates or more, such as --tune 3")
    if "learning_rate" in (plan.overrides.get("model") or {}):
        raise UserError("--tune chooses the learning rate that --model.learning_rate states: leave one of them out")
    tries = {recipe.label: tuple(map(Try, rates_around(_own_rate(recipe), budget))) for recipe in plan.recipes}
    seed = next(seed for seed in count(FIRST_SEED) if seed not in plan.seeds)
    return Tuning(budget, tries, {}, seed, metric_key=plan.metric)


def tuning_jobs(part: Part, tuning: Tuning) -> list[FitJob]:
    """Returns a job for each rate of a comparison, a fit without a test; the recipes take turns."""
    jobs = []
    runs = replace(part.plan, seeds=(tuning.seed or FIRST_SEED,)).runs(part.folder)
    for number in range(tuning.budget):
        for run in runs:
            rate = tuning.tries[run.label][number].learning_rate
            place = part.folder / "tuning" / run.label / f"rate_{number}"
            changes = {**rate_setting(rate), "test_after_fit": False}
            jobs.append(fit_job(run, f"rate {rate:g}", place, changes, part.value))
    return jobs


def rate_setting(rate: float) -> Config:
    """Returns a learning rate as a nested setting."""
    return {"model": {"learning_rate": rate}}


def tune(planned: Sequence[tuple[Part, Tuning]], pool: Pool, forecast_s: Mapping[str, float]) -> list[Tuning]:
    """Tries the rates that have no result yet, and chooses. A rate that diverged has a result and is not tried again.

    Args:
        planned: The comparisons, each with its rates.
        pool: The executor and the places of the tries.
        forecast_s: Forecast seconds of a try, by the job's variant.

    Returns:
        The tunings with their results and their choices, which have been written too.

    Raises:
        UserError: If a recipe is refused.
    """
    jobs = [tuning_jobs(part, tuning) for part, tuning in planned]
    every = [job for own in jobs for job in own]
    say_tried_again([job for job in every if tried_before(job.folder) is None])
    title = f"learning rates ({planned[0][1].budget} for each recipe, chosen on validation)"
    view = view_for(title, forecast_s, len(pool.places))
    ended = dict(zip((job.folder for job in every), run_jobs(every, pool, view, _after, tried_before), strict=True))
    return [
        _chosen(part, tuning, own, [ended[job.folder] for job in own])
        for (part, tuning), own in zip(planned, jobs, strict=True)
    ]


def _chosen(part: Part, tuning: Tuning, jobs: Sequence[Job], ended_so: Sequence[Outcome]) -> Tuning:
    outcomes: dict[str, list[Outcome]] = {label: [] for label in tuning.tries}
    for job, outcome in zip(jobs, ended_so, strict=True):
        outcomes[job.label].append(outcome)
    records = [
        outcome.record for ended in outcomes.values() for outcome in ended if outcome.finished and outcome.record
    ]
    measured = replace(tuning, problem_type=records[0].problem_type) if records else tuning
    tries = {
        label: tuple(
            _with_result(trial.learning_rate, outcome, measured.metric)
            for trial, outcome in zip(planned, ended, strict=True)
        )
        for (label, planned), ended in zip(tuning.tries.items(), outcomes.values(), strict=True)
    }
    own = {recipe.label: _own_rate(recipe) for recipe in part.plan.recipes}
    chosen = {label: choose(trials, own[label], measured.metric) for label, trials in tries.items()}
    done = replace(measured, tries=tries, chosen=chosen)
    done.write(part.folder)
    return done


def _after(job: Job, outcome: Outcome) -> None:
    if outcome.mistake:
        raise UserError(f"{job.variant}: {outcome.error}")
    run = newest_run(job.folder)
    if run is not None and (outcome.finished or outcome.diverged):
        # Only the figures of a try are needed, and the checkpoints of full fine-tuning take gigabytes.
        shutil.rmtree(run / "checkpoints", ignore_errors=True)


def _with_result(rate: float, outcome: Outcome, metric: Metric) -> Try:
    metrics = outcome.record.metrics if outcome.finished and outcome.record is not None else {}
    return Try(rate, metrics.get(metric.validation), metrics.get("val/loss"), outcome.diverged)


def _own_rate(recipe: PlannedRecipe) -> float:
    rate = recipe.settings["model"].get("learning_rate")
    if rate is None:
        from peft_lightning.module.classifier import TextClassifier

        rate = inspect.signature(TextClassifier).parameters["learning_rate"].default
    try:
        # YAML reads 1e-3, which has no point, as a text.
        return float(rate)
    except (TypeError, ValueError) as error:
        raise UserError(f"{recipe.path}: model.learning_rate is {rate!r}: it must be a number") from error
