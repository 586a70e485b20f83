"""The runs that a comparison compares: each recipe with each seed, at the learning rate that was tuned for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from peft_lightning.compare.execution.fit_job import FitJob, fit_job
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.tuning import Tuning
from peft_lightning.compare.stages.tuning_runs import rate_setting


def every_job(parts: Sequence[Part], tunings: Mapping[Path, Tuning]) -> list[FitJob]:
    """Returns the jobs of all parts: with one seed at every value, then with the next.

    Args:
        parts: The comparisons.
        tunings: The learning rates tried, by the folder of the comparison; none if it was not tuned.
    """
    listed = [iter(run_list(part, chosen_rates(tunings.get(part.folder)))) for part in parts]
    plan = parts[0].plan
    return [next(jobs) for _ in plan.seeds for jobs in listed for _ in plan.recipes]


def run_list(part: Part, chosen: Mapping[str, float]) -> list[FitJob]:
    """Returns the jobs of a comparison.

    Args:
        part: The comparison.
        chosen: The learning rate of each recipe that was tuned, by the recipe's label.
    """
    jobs = []
    for run in part.plan.runs(part.folder):
        changes = rate_setting(chosen[run.label]) if run.label in chosen else {}
        jobs.append(fit_job(run, f"seed {run.seed}", run.folder, changes, part.value))
    return jobs


def chosen_rates(tuning: Tuning | None) -> Mapping[str, float]:
    """Returns the learning rate that was chosen for each recipe, by the recipe's label; none without a tuning."""
    return tuning.chosen if tuning is not None else {}
