"""Says what a comparison would do: its jobs, what differs between its recipes, what it would take. Starts nothing."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from peft_lightning.compare.display.row_words import DASH
from peft_lightning.compare.execution.board import GPU_MEMORY
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import (
    Outcome,
    finished_before,
    has_failed,
    resumable,
    tried_before,
    was_refused,
)
from peft_lightning.compare.fairness.settings import unequal_settings
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.compared_runs import every_job
from peft_lightning.compare.stages.earlier_runs import Estimate, device_of, estimate_runs, gpus_of
from peft_lightning.compare.stages.forecast import Forecast, read_forecast
from peft_lightning.compare.stages.tuning import Tuning
from peft_lightning.compare.stages.tuning_runs import tuning_jobs
from peft_lightning.runs.durations import round_duration

LOGS = Path("lightning_logs")


def print_dry_run(
    parts: Sequence[Part],
    tunings: Sequence[Tuning | None],
    folder: Path,
    pool: Pool,
    devices: Mapping[str, str | None],
    console: Console | None = None,
) -> None:
    """Prints the jobs that are left, in their order, what differs between recipes, and the forecast.

    Args:
        parts: The comparisons, of which nothing need be on disk.
        tunings: For each part, the learning rates to try; None for none.
        folder: The folder of the whole.
        pool: The executor and its places, for their number.
        devices: The names of this machine's devices as records have them, by ``gpu`` and ``cpu``.
        console: The console to print on; the terminal if None.
    """
    console = console or Console()
    rates = {part.folder: tuning for part, tuning in zip(parts, tunings, strict=True) if tuning is not None}
    tries = [
        job
        for part in parts
        if part.folder in rates and not rates[part.folder].complete
        for job in tuning_jobs(part, rates[part.folder])
    ]
    runs = every_job(parts, rates)
    states = {job.folder: _state(job, tried_before) for job in tries}
    states |= {job.folder: _state(job, finished_before) for job in runs}
    console.print(Text(f"dry run: nothing is started and nothing is written; {folder} would hold", "bold"))
    _print_jobs(console, [*tries, *runs], states)
    _print_differences(console, parts)
    left = [job for job in (*tries, *runs) if states[job.folder] != "finished"]
    estimates = _forecast(parts)
    here = None if pool.executor.elsewhere else devices
    known = estimate_runs([job for job in runs if job.variant not in estimates], LOGS, here)
    _print_estimates(console, left, {**known, **estimates}, len(pool.places), here)


def _state(job: FitJob, before: Callable[[Path], Outcome | None]) -> str:
    """Returns what lies in the job's folder, in a word; empty if nothing does.

    Args:
        job: The job.
        before: Returns the outcome of a run that need not run again; of a try also one that diverged.
    """
    if job.unlike() or was_refused(job.folder):
        return "trains anew"
    if before(job.folder) is not None:
        return "finished"
    if resumable(job.folder):
        return "goes on"
    return "tried again" if has_failed(job.folder) else ""


def _print_jobs(console: Console, jobs: Sequence[FitJob], states: Mapping[Path, str]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("", justify="right")
    headings = ["recipe", *(["at"] if any(job.value for job in jobs) else []), "job"]
    headings += ["state"] if any(states.values()) else []
    for heading in headings:
        table.add_column(heading)
    for number, job in enumerate(jobs, 1):
        cells = [job.label, *([job.value or ""] if "at" in headings else []), job.what]
        cells += [states[job.folder] or "to run"] if "state" in headings else []
        table.add_row(str(number), *map(Text, cells))
    console.print(table)


def _print_differences(console: Console, parts: Sequence[Part]) -> None:
    plan = parts[0].plan
    different = unequal_settings({recipe.label: plan.settings_of(recipe) for recipe in plan.recipes})
    if not different:
        return
    console.print(Text("\nsettings that differ between the recipes", "bold"))
    for recipe in plan.recipes:
        stated = [
            f"{name} {values[recipe.label]}" for name, values in different.items() if values[recipe.label] is not None
        ]
        console.print(Text(f"{recipe.label}: {', '.join(stated)}"))


def _forecast(parts: Sequence[Part]) -> dict[str, Estimate]:
    """Returns the estimates from the forecasts that were made when the comparison began."""
    made = {part.value: forecast for part in parts if (forecast := read_forecast(part.folder)) is not None}
    return {
        recipe.label: Estimate(recipe.run_s, recipe.test_s or 0.0, 0, on_gpu=recipe.peak_of == GPU_MEMORY)
        for recipe in Forecast.of_all(made).recipes
        if recipe.run_s is not None
    }


def _span(seconds: Sequence[float], places: int) -> float:
    """Returns when the last job ends if each goes to the place that is free first."""
    free = [0.0] * min(places, max(1, len(seconds)))
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def _print_estimates(
    console: Console,
    left: Sequence[FitJob],
    estimates: Mapping[str, Estimate],
    places: int,
    here: Mapping[str, str | None] | None,
) -> None:
    """Prints what the jobs will take.

    Args:
        console: The console to print on.
        left: The jobs.
        estimates: What is known of them, by variant.
        places: Number of jobs at the same time.
        here: The names of this machine's devices, by ``gpu`` and ``cpu``; None if the jobs are for others.
    """
    console.print(Text("\nforecast", "bold"))
    if not left:
        console.print(Text("nothing is left to run"))
        return
    if here is None:
        console.print(Text("runs go to other machines: times are those of earlier runs on the device that is named"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("recipe", "jobs", "a run", "known from"):
        table.add_column(heading, justify="right" if heading in ("jobs", "a run") else "left")
    by_variant: dict[str, list[FitJob]] = {}
    for job in left:
        by_variant.setdefault(job.variant, []).append(job)
    for variant, jobs in by_variant.items():
        estimate = estimates.get(variant)
        none = "no earlier run" if here is None else "no earlier run on this machine"
        source = none if estimate is None else estimate.source
        source = "its forecast" if estimate is not None and not estimate.runs else source
        a_run = round_duration(estimate.run_s) if estimate is not None else DASH
        table.add_row(Text(variant), str(len(jobs)), a_run, Text(source))
    console.print(table)
    unknown = [variant for variant in by_variant if variant not in estimates]
    known = [job for job in left if job.variant not in unknown]
    seconds = [(job, _seconds(job, estimates[job.variant])) for job in known]
    at_once = "one at a time" if places == 1 else f"{places} at a time"
    total = round_duration(_span([each for _, each in seconds], places)) if known else DASH
    on_gpus = [(job, each) for job, each in seconds if _on_gpu(job, estimates[job.variant], here)]
    gpu_hours = sum(each * gpus_of(job.settings) for job, each in on_gpus) / 3600
    gpu = f"{gpu_hours:.2f} GPU hours"
    if here is not None and here.get("gpu") is None:
        gpu = "no GPU here"
    if not unknown:
        jobs_left = "1 job" if len(left) == 1 else f"{len(left)} jobs"
        console.print(Text(f"{jobs_left}, {at_once}: about {total} in all, {gpu}"))
        return
    if known:
        console.print(
            Text(f"{len(known)} of {len(left)} jobs, {at_once}: about {total}, {gpu}; the others are unknown")
        )
    console.print(
        Text(
            f"{len(left) - len(known)} jobs cannot be forecast without training: compare itself tries a few steps of"
            " each recipe first, and says then what all of it takes"
        )
    )


def _on_gpu(job: FitJob, estimate: Estimate, here: Mapping[str, str | None] | None) -> bool:
    return estimate.on_gpu if here is None else device_of(job.settings, here) != here.get("cpu")


def _seconds(job: FitJob, estimate: Estimate) -> float:
    """Returns the seconds of a job; one that tries a learning rate is not tested."""
    return estimate.run_s - (estimate.test_s if job.settings.get("test_after_fit") is False else 0.0)
