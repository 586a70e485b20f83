"""Carries out a comparison from its plan to its report: forecast, learning rates, runs; what is done is skipped."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peft_lightning.compare.display.view_choice import view_for
from peft_lightning.compare.execution.executor import ExecutorOptions, Pool
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, finished_before, newest_run
from peft_lightning.compare.execution.registry import DEFAULT, executor_named
from peft_lightning.compare.execution.runner import run_jobs, say_tried_again
from peft_lightning.compare.laying_out import all_held, lay_out, lay_out_sweep
from peft_lightning.compare.plan.comparison_folder import (
    begun,
    forget,
    has_trained,
    held,
    keep_texts_out,
    texts_allowed,
)
from peft_lightning.compare.plan.plan import Plan
from peft_lightning.compare.plan.relative_paths import check_paths_lead_there
from peft_lightning.compare.plan.sweep import Part, Sweep, parts_of, read_parts
from peft_lightning.compare.stages.compared_runs import chosen_rates, every_job, run_list
from peft_lightning.compare.stages.earlier_runs import gpus_of
from peft_lightning.compare.stages.forecast import Forecast, read_forecast
from peft_lightning.compare.stages.forecast_runs import make_forecasts
from peft_lightning.compare.stages.forecast_words import print_forecast
from peft_lightning.compare.stages.tuning import Tuning, read_tuning, tuning_in_words
from peft_lightning.compare.stages.tuning_runs import tune, tuning_jobs
from peft_lightning.errors import UserError

Check = Callable[[Sequence[Part], Pool], None]
"""Refuses settings of comparisons that are about to run in a pool."""


class _Refused(UserError):
    """A mistake that ended a comparison before anything trained, and after which nothing runs any more."""


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


def begin(plan: Plan, folder: Path, tuning: Tuning | None, options: Options, check: Check | None = None) -> bool:
    """Begins a comparison and carries it out.

    Args:
        plan: The comparison.
        folder: Its folder, which exists.
        tuning: Learning rates to try for each recipe; None to train with the recipes' own.
        options: How to carry it out.
        check: Looks at the settings before any run starts; None where each run is to find out itself.

    Returns:
        Whether all runs finished and the report is whole.

    Raises:
        UserError: If the user can put right what went wrong. A comparison that has not trained is removed then.
    """
    with held(folder):
        lay_out(plan, folder, tuning, options.texts)
        return _first_carried_out([Part(plan, folder)], folder, options, check)


def begin_sweep(
    sweep: Sweep,
    plans: Sequence[Plan],
    folder: Path,
    tunings: Sequence[Tuning | None],
    options: Options,
    check: Check | None = None,
) -> bool:
    """Begins the comparisons of a sweep and carries them out.

    Args:
        sweep: The setting and its values.
        plans: The comparison at each value.
        folder: The sweep's folder, which exists.
        tunings: For each value, learning rates to try for each recipe; None to train with the recipes' own.
        options: How to carry it out.
        check: As for ``begin``.

    Returns:
        As ``begin``.

    Raises:
        UserError: As ``begin``.
    """
    parts = parts_of(sweep, plans, folder)
    with all_held(folder, parts):
        lay_out_sweep(sweep, parts, folder, tunings, options.texts)
        return _first_carried_out(parts, folder, options, check)


def _first_carried_out(parts: Sequence[Part], folder: Path, options: Options, check: Check | None) -> bool:
    """Carries out what has just been laid out; if it is refused before it has trained, nothing of it stays."""
    try:
        return _carry_out(parts, folder, options, first=True, check=check)
    except UserError as error:
        if not any((has_trained if isinstance(error, _Refused) else begun)(part.folder) for part in parts):
            for place in dict.fromkeys([*(part.folder for part in parts), folder]):
                forget(place)
        raise


def go_on(folder: Path, options: Options) -> bool:
    """Goes on with a comparison where it was stopped, and tries again what failed.

    Returns:
        Whether all runs finished and the report is whole.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    parts = read_parts(folder)
    with all_held(folder, parts):
        if not options.texts:
            for place in dict.fromkeys([folder, *(part.folder for part in parts)]):
                keep_texts_out(place)
        # The report needs the records only, so a finished comparison can be resumed from any directory.
        for part in parts:
            jobs = run_list(part, chosen_rates(read_tuning(part.folder)))
            if any(finished_before(job.folder) is None or job.unlike() for job in jobs):
                check_paths_lead_there(part.plan, folder)
        return _carry_out(parts, folder, options)


def _carry_out(
    parts: Sequence[Part], folder: Path, options: Options, first: bool = False, check: Check | None = None
) -> bool:
    pool = pool_for([part.plan for part in parts], options)
    planned = [(part, tuning) for part in parts if (tuning := read_tuning(part.folder)) is not None]
    print(f"comparison: {folder}", flush=True)
    if check is not None:
        check(parts, pool)
    forecast = _forecast(parts, options, pool, planned[0][1].budget if planned else 0)
    rates = {part.folder: tuning for part, tuning in planned}
    untried = [(part, tuning) for part, tuning in planned if not (tuning.complete and _tuned_for(part, tuning))]
    if untried:
        tried = tune(untried, pool, forecast.try_s if forecast is not None else {})
        rates |= {part.folder: tuning for (part, _), tuning in zip(untried, tried, strict=True)}
    for part, _ in planned:
        print(*tuning_in_words(rates[part.folder], part.variant), sep="\n", flush=True)
    jobs = every_job(parts, rates)
    say_tried_again(jobs)
    view = view_for("runs", forecast.run_s if forecast is not None else {}, len(pool.places))

    def refuse_the_first(job: Job, outcome: Outcome) -> None:
        """Ends the comparison at a mistake before anything has trained: mostly the other runs have it too."""
        if not outcome.mistake or any(has_trained(part.folder) for part in parts):
            return
        # What a cluster has in its queue may still look into the folder.
        if first and not pool.executor.elsewhere:
            raise _Refused(f"{job.variant}: {outcome.error}")
        raise _none_begun(job, outcome, folder, options)

    outcomes = run_jobs(jobs, pool, view, refuse_the_first)
    whole = report(folder, jobs, outcomes, options)
    return whole and all(outcome.finished for outcome in outcomes)


def _none_begun(job: Job, outcome: Outcome, folder: Path, options: Options) -> UserError:
    return UserError(
        f"no run of {folder} has begun ({job.title}: {outcome.error}): {job.folder / 'log.txt'} says more;"
        f" {options.resume(folder)} tries again"
    )


def _tuned_for(part: Part, tuning: Tuning) -> bool:
    """Returns whether the learning rates were tried with the settings of the plan, as far as their runs are there."""
    return not any(job.unlike() for job in tuning_jobs(part, tuning))


def pool_for(plans: Sequence[Plan], options: Options) -> Pool:
    """Chooses the executor and the devices of a comparison's runs.

    Args:
        plans: The plan of the comparison, or at each value of a sweep.
        options: How it is carried out.

    Raises:
        UserError: If runs would share a device.
    """
    executor = executor_named(options.executor, options.starting)
    trainers = [plan.settings_of(recipe).get("trainer") or {} for plan in plans for recipe in plan.recipes]
    accelerators = [trainer.get("accelerator") for trainer in trainers]
    gpus_per_run = max((gpus_of({"trainer": trainer}) for trainer in trainers), default=1)
    return Pool(executor, executor.places(options.jobs, accelerators, gpus_per_run))


def _forecast(parts: Sequence[Part], options: Options, pool: Pool, tries: int) -> Forecast | None:
    read = {part.value: read_forecast(part.folder) for part in parts}
    known = {value: forecast for value, forecast in read.items() if forecast is not None}
    if options.forecast and len(known) < len(parts) and not any(begun(part.folder) for part in parts):
        known = dict(zip(read, make_forecasts(parts, pool, tries), strict=True))
        print_forecast(Forecast.of_all(known), len(parts[0].plan.seeds), tries, values=len(parts))
    return Forecast.of_all(known) if known else None


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
        raise _none_begun(*failed[0], folder, options)
    from peft_lightning.compare.report import write_report

    left_out = write_report(folder, texts=texts_allowed(folder))
    if failed:
        again = f"try them again with {options.resume(folder)}"
        print(f"{len(failed)} of {len(jobs)} runs did not finish; {again}", flush=True)
    return not left_out
