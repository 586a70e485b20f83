"""Carries out a comparison from its plan to its report: forecast, learning rates, runs; what is done is skipped."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peft_lightning.compare.display.view_choice import view_for
from peft_lightning.compare.execution.executor import ExecutorOptions, Pool
from peft_lightning.compare.execution.fit_job import FitJob, fit_job
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, finished_before, newest_run
from peft_lightning.compare.execution.registry import DEFAULT, executor_named
from peft_lightning.compare.execution.runner import run_jobs, say_tried_again
from peft_lightning.compare.plan.comparison_folder import NO_TEXTS, forget, held, keep_texts_out, texts_allowed
from peft_lightning.compare.plan.plan import FILE, Plan, read_plan
from peft_lightning.compare.plan.relative_paths import check_paths_lead_there
from peft_lightning.compare.stages.forecast import Forecast, read_forecast
from peft_lightning.compare.stages.forecast_runs import make_forecast
from peft_lightning.compare.stages.forecast_words import print_forecast
from peft_lightning.compare.stages.tuning import FILE as TUNING
from peft_lightning.compare.stages.tuning import Tuning, read_tuning, tuning_in_words
from peft_lightning.compare.stages.tuning_runs import rate_setting, tune, tuning_jobs
from peft_lightning.errors import UserError


@dataclass(frozen=True)
class Options:
    """How a comparison is carried out; none of it changes a result.

    Args:
        jobs: How many runs at the same time; None for one, or as many as may share the devices.
        forecast: Whether to try a few steps of each recipe first.
        texts: Whether the report may show texts of reviews. A False is kept with the comparison.
        executor: The name of the executor that starts its runs.
        starting: How the executor starts them.
    """

    jobs: int | None = None
    forecast: bool = True
    texts: bool = True
    executor: str = DEFAULT
    starting: ExecutorOptions = field(default_factory=ExecutorOptions)

    def resume(self, folder: Path) -> str:
        """Returns the command-line words that resume a comparison as it is carried out."""
        words = [f"--resume {shlex.quote(str(folder))}"]
        words += [f"--jobs {self.jobs}"] if self.jobs not in (None, 1) else []
        words += [f"--executor {self.executor}"] if self.executor != DEFAULT else []
        words += self.starting.words()
        return " ".join(words)


def begin(plan: Plan, folder: Path, tuning: Tuning | None, options: Options) -> bool:
    """Begins a comparison and carries it out.

    Args:
        plan: The comparison.
        folder: Its folder, which exists.
        tuning: Learning rates to try for each recipe; None to train with the recipes' own.
        options: How to carry it out.

    Returns:
        Whether all runs finished and the report is whole.

    Raises:
        UserError: If the user can put right what went wrong. A comparison that has not trained is removed then.
    """
    with held(folder):
        lay_out(plan, folder, tuning, options.texts)
        try:
            return _carry_out(plan, folder, options)
        except UserError:
            if not _begun(folder):
                forget(folder)
            raise


def lay_out(plan: Plan, folder: Path, tuning: Tuning | None, texts: bool = True) -> None:
    """Writes the plan into the folder, so that a comparison that is killed afterwards can be resumed.

    Args:
        plan: The comparison.
        folder: Its folder.
        tuning: Learning rates to try for each recipe; None to train with the recipes' own.
        texts: Whether the report may show texts of reviews.

    Raises:
        UserError: If the folder already holds a comparison, or cannot be written.
    """
    if not (folder / FILE).exists():
        if _begun(folder):
            raise UserError(f"{folder} holds runs, but no plan that asked for them: choose another --name or remove it")
        # These are written before the plan, because the plan makes the folder a comparison: it is tuned from the start
        # or never. What a comparison that was killed before its plan has left here does not count.
        for name in (TUNING, NO_TEXTS):
            (folder / name).unlink(missing_ok=True)
        if not texts:
            keep_texts_out(folder)
        if tuning is not None:
            tuning.write(folder)
    plan.write(folder)


def go_on(folder: Path, options: Options) -> bool:
    """Goes on with a comparison where it was stopped, and tries again what failed.

    Returns:
        Whether all runs finished and the report is whole.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    with held(folder):
        if not options.texts:
            keep_texts_out(folder)
        plan = read_plan(folder)
        # The report needs the records only, so a finished comparison can be resumed from any directory.
        tuning = read_tuning(folder)
        jobs = run_list(plan, folder, tuning.chosen if tuning is not None else {})
        if any(finished_before(job.folder) is None or job.unlike() for job in jobs):
            check_paths_lead_there(plan, folder)
        return _carry_out(plan, folder, options)


def _carry_out(plan: Plan, folder: Path, options: Options) -> bool:
    pool = pool_for(plan, options)
    tuning = read_tuning(folder)
    print(f"comparison: {folder}", flush=True)
    forecast = _forecast(plan, folder, options, pool, tuning.budget if tuning is not None else 0)
    if tuning is not None and not (tuning.complete and _tuned_for(plan, folder, tuning)):
        tuning = tune(plan, folder, tuning, pool, forecast.try_s if forecast is not None else {})
    if tuning is not None:
        print(*tuning_in_words(tuning), sep="\n", flush=True)
    jobs = run_list(plan, folder, tuning.chosen if tuning is not None else {})
    say_tried_again(jobs)
    view = view_for("runs", forecast.run_s if forecast is not None else {}, len(pool.places))
    outcomes = run_jobs(jobs, pool, view)
    whole = report(folder, jobs, outcomes, options)
    return whole and all(outcome.finished for outcome in outcomes)


def _tuned_for(plan: Plan, folder: Path, tuning: Tuning) -> bool:
    """Returns whether the learning rates were tried with the settings of the plan, as far as their runs are there."""
    return not any(job.unlike() for job in tuning_jobs(plan, folder, tuning))


def run_list(plan: Plan, folder: Path, chosen: Mapping[str, float]) -> list[FitJob]:
    """Returns the jobs of a comparison.

    Args:
        plan: The comparison.
        folder: Its folder.
        chosen: The learning rate of each recipe that was tuned, by the recipe's label.
    """
    jobs = []
    for run in plan.runs(folder):
        changes = rate_setting(chosen[run.label]) if run.label in chosen else {}
        jobs.append(fit_job(run, f"seed {run.seed}", run.folder, changes))
    return jobs


def pool_for(plan: Plan, options: Options) -> Pool:
    """Chooses the executor and the devices of a comparison's runs.

    Raises:
        UserError: If runs would share a device.
    """
    executor = executor_named(options.executor, options.starting)
    trainers = [plan.settings_of(recipe).get("trainer") or {} for recipe in plan.recipes]
    return Pool(executor, executor.places(options.jobs, [trainer.get("accelerator") for trainer in trainers]))


def _forecast(plan: Plan, folder: Path, options: Options, pool: Pool, tries: int) -> Forecast | None:
    forecast = read_forecast(folder)
    if forecast is None and options.forecast and not _begun(folder):
        forecast = make_forecast(plan, folder, pool, tries)
        print_forecast(forecast, len(plan.seeds), tries)
    return forecast


def _begun(folder: Path) -> bool:
    """Returns whether anything beside the forecast has trained."""
    return any((folder / part).exists() for part in ("runs", "tuning"))


def report(folder: Path, jobs: Sequence[Job], outcomes: Sequence[Outcome], options: Options) -> bool:
    """Writes the report, however few runs finished, and says how to try the others again.

    Args:
        folder: The comparison's folder.
        jobs: Its jobs.
        outcomes: How each job ended, in the order of the jobs.
        options: How the comparison is carried out.

    Returns:
        Whether every part of the report could be made.

    Raises:
        UserError: If there is nothing to report, because all runs were refused before they began.
    """
    failed = [(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if not outcome.finished]
    if all(outcome.mistake for outcome in outcomes) and all(newest_run(job.folder) is None for job in jobs):
        job, outcome = failed[0]
        raise UserError(
            f"no run of {folder} has begun ({job.title}: {outcome.error}): {job.folder / 'log.txt'} says more;"
            f" {options.resume(folder)} tries again"
        )
    from peft_lightning.compare.report import write_report

    left_out = write_report(folder, texts=texts_allowed(folder))
    if failed:
        again = f"try them again with {options.resume(folder)}"
        print(f"{len(failed)} of {len(jobs)} runs did not finish; {again}", flush=True)
    return not left_out
