"""How runs from elsewhere join a comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peft_lightning.compare.fairness import unequal_settings
from peft_lightning.compare.plan import FILE, read_plan
from peft_lightning.compare.report.study import Recipe, Run
from peft_lightning.compare.runs_on_disk import newest_run
from peft_lightning.errors import UserError


def runs_below(directory: Path) -> list[Path]:
    """Finds the runs that a directory stands for.

    Args:
        directory: A run's own, one that holds ``lightning_logs``, or a comparison's.

    Raises:
        UserError: If it holds none.
    """
    if (directory / "results.json").is_file():
        return [directory]
    if (directory / FILE).is_file():
        planned = read_plan(directory).runs(directory)
        found = [newest_run(run.folder) for run in planned]
    else:
        found = [newest_run(directory)]
    runs = [run for run in found if run is not None]
    if not runs:
        raise UserError(f"{directory} holds no run (results.json): name the directory of one, such as RUN_DIR")
    return runs


def join(recipes: list[Recipe], run: Run, notes: list[str]) -> None:
    """Adds a run to the recipe that has its very settings, or as a recipe of its own.

    Args:
        recipes: The recipes so far, which it changes.
        run: The run.
        notes: Sentences on what was left out, which it adds to.

    Raises:
        UserError: If the run cannot be read.
    """
    if run.record is None:
        raise UserError(run.error or f"{run.place} has no record")
    for position, recipe in enumerate(recipes):
        if run.config is None or recipe.config is None or unequal_settings({"": recipe.config, run.place: run.config}):
            continue
        there = [other for other in recipe.runs if other.seed == run.seed]
        if not there:
            recipes[position] = replace(recipe, runs=(*recipe.runs, run))
        elif there[0].record is None or there[0].record.run_id != run.record.run_id:
            notes.append(f"{run.place} repeats seed {run.seed} of {recipe.label} and was left out.")
        return
    taken = {recipe.label for recipe in recipes}
    name = run.record.recipe if run.record.recipe != "none" else run.record.method
    name = name.replace("/", "-")
    label = name if name not in taken else f"{name} ({run.place})"
    number = 2
    while label in taken:
        label, number = f"{name} ({run.place}, {number})", number + 1
    recipes.append(Recipe(label, run.place, run.config or {}, (run,), planned=False))
