"""Adds runs from elsewhere to the report of a comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.compare.fairness.settings import unequal_settings
from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.compare.plan.plan import FILE, read_plan
from peft_lightning.compare.report.study import STATES, Recipe, Run
from peft_lightning.errors import UserError

# Where runs lie below a directory: one that holds lightning_logs, lightning_logs itself, or a method's folder in it.
BELOW = ("lightning_logs/*/version_*", "*/version_*", "version_*")


def runs_below(directory: Path) -> list[tuple[Path, str]]:
    """Finds the runs in or below a directory.

    Args:
        directory: A run's directory, one that holds ``lightning_logs``, or a comparison's folder.

    Returns:
        Each run's directory and its name in the report; the newest run of a method comes first.

    Raises:
        UserError: If it holds none.
    """
    if (directory / "results.json").is_file():
        return [(directory, directory.name)]
    if (directory / FILE).is_file():
        planned = read_plan(directory).runs(directory)
        runs = [
            (run, f"{planned_run.label}/seed_{planned_run.seed}")
            for planned_run in planned
            if (run := newest_run(planned_run.folder)) is not None
        ]
    else:
        found = {path.parent for pattern in BELOW for path in directory.glob(f"{pattern}/results.json")}
        runs = [(run, f"{run.parent.name}/{run.name}") for run in sorted(found, key=_newest_first)]
    if not runs:
        raise UserError(f"{directory} holds no run (results.json): name a run, such as lightning_logs/lora/version_0")
    return runs


def join(recipes: list[Recipe], run: Run, notes: list[str]) -> None:
    """Adds a run to the recipe that has exactly its settings, or as a recipe of its own.

    Args:
        recipes: The recipes so far; changed in place.
        run: The run.
        notes: Sentences on runs that were left out or replace others; added to in place.
    """
    if run.record is None:
        notes.append(f"{run.place} was left out: {run.error or 'it has no record'}.")
        return
    for position, recipe in enumerate(recipes):
        if run.config is None or recipe.config is None or unequal_settings({"": recipe.config, run.place: run.config}):
            continue
        same_seed = next((other for other in recipe.runs if other.seed == run.seed), None)
        if same_seed is None:
            recipes[position] = replace(recipe, runs=(*recipe.runs, run))
        elif same_seed.state != "finished" and run.state == "finished":
            recipes[position] = replace(
                recipe, runs=tuple(run if other is same_seed else other for other in recipe.runs)
            )
            notes.append(
                f"{run.place} stands in for seed {run.seed} of {recipe.label}, which is {STATES[same_seed.state]}."
            )
        elif same_seed.record is None or same_seed.record.run_id != run.record.run_id:
            notes.append(f"{run.place} repeats seed {run.seed} of {recipe.label} and was left out.")
        return
    taken = {recipe.label for recipe in recipes}
    name = run.record.recipe if run.record.recipe != "none" else run.record.method
    name = visible(name.replace("/", "-")) or "unnamed"
    label = name if name not in taken else f"{name} ({run.place})"
    number = 2
    while label in taken:
        label, number = f"{name} ({run.place}, {number})", number + 1
    recipes.append(Recipe(label, run.place, run.config or {}, (run,), planned=False))


def _newest_first(run: Path) -> tuple[str, int, str]:
    number = run.name.removeprefix("version_")
    return str(run.parent), -int(number) if number.isdecimal() else 0, run.name
