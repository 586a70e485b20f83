"""Builds the plan of a comparison from a command line, and checks it before anything is written."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft_lightning.compare.plan.folder_names import LONGEST_SHOWN, formula_problem, name_problem, visible
from peft_lightning.compare.plan.overrides import override, read_overrides
from peft_lightning.compare.plan.plan import Plan, PlannedRecipe
from peft_lightning.compare.plan.recipe_labels import recipe_labels
from peft_lightning.compare.plan.same_data import check_same_reviews
from peft_lightning.data.sources.glue import settings_of_source
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, find_config, merge, method_of, read_config
from peft_lightning.task import metric_problem


def build_plan(
    recipes: Sequence[str],
    seeds: Sequence[int],
    overlays: Sequence[str] = (),
    overrides: Sequence[str] = (),
    baseline: str | None = None,
    metric: str | None = None,
) -> Plan:
    """Plans a comparison.

    Args:
        recipes: The recipes, by path or as ``configs/NAME.yaml`` in the package.
        seeds: The seeds to train each recipe with; the subsets of reviews are the same for all seeds.
        overlays: Files with differences for all recipes.
        overrides: Settings for all runs, as words: ``--data.n_train 400``.
        baseline: The label of the recipe that the report compares all others with, or its path; None for none.
        metric: The key of the metric that the report compares recipes by; None for the task's headline.

    Raises:
        UserError: If a name, a seed, an overlay, the baseline, the metric or an override is wrong, or the recipes draw
            different reviews.
    """
    if not recipes:
        raise UserError("no recipe to compare: name some, such as configs/full.yaml configs/lora.yaml")
    files = [find_config(name).resolve() for name in recipes]
    for position, file in enumerate(files):
        if file in files[:position]:
            raise UserError(f"{recipes[position]} is named twice: name every recipe once, and repeat it with --seeds")
    _check_seeds(seeds)
    everywhere: Config = {}
    for name in overlays:
        content = read_config(find_config(name))
        if method_of(content):
            raise UserError(f"--config {name} names a method, which would be every recipe's: name it as a recipe")
        everywhere = merge(everywhere, content)
    overridden = read_overrides(overrides)
    settings = [merge(read_config(file), everywhere) for file in files]
    for name, content in zip(recipes, settings, strict=True):
        if not method_of(content):
            raise UserError(f"{name} names no method (model.method): if it is for all recipes, say --config {name}")
    # Here, so that what a plan says, what a run says and what is compared with other recipes is the same.
    settings = [merge(content, _of_source(override(content, overridden))) for content in settings]
    check_same_reviews({name: override(content, overridden) for name, content in zip(recipes, settings, strict=True)})
    # A value that YAML has and JSON has not, such as a date, becomes a text, as it does for `fit`.
    plain = [json.loads(json.dumps(content, default=str)) for content in settings]
    labels = recipe_labels(files)
    for name, label in zip(recipes, labels, strict=True):
        if (problem := name_problem(label) or formula_problem(label)) is not None:
            called = visible(label) if len(label) <= LONGEST_SHOWN else f"{visible(label[:LONGEST_SHOWN])}…"
            raise UserError(
                f"{visible(name)} would be called {called} in the comparison, which {problem}: rename the file"
            )
    planned = map(PlannedRecipe, labels, map(str, recipes), plain)
    chosen = None
    if baseline is not None:
        chosen = dict(zip(recipes, labels, strict=True)).get(baseline, baseline)
        check_baseline(chosen, labels)
    if metric is not None and (problem := metric_problem(metric)) is not None:
        raise UserError(f"--metric {metric} {problem}")
    return Plan(tuple(planned), tuple(overlays), tuple(seeds), overridden, str(Path.cwd()), chosen, metric)


def _of_source(settings: Mapping[str, Any]) -> Config:
    """Returns the settings that the name of a run's source stands for, by section, without those that are stated."""
    filled: Config = {}
    for name, value in settings_of_source(settings).items():
        section, _, key = name.partition(".")
        filled.setdefault(section, {})[key] = value
    return filled


def check_baseline(baseline: str, labels: Sequence[str]) -> None:
    """Checks that the baseline is one of several recipes.

    Args:
        baseline: The label of the recipe that all others are to be compared with.
        labels: The labels of all recipes.

    Raises:
        UserError: If it is none of them, or there is no other.
    """
    if baseline not in labels:
        raise UserError(f"--baseline {baseline} is none of the recipes: there are {', '.join(labels)}")
    if len(labels) < 2:
        raise UserError(f"--baseline {baseline} is the only recipe: name another to compare with it, or leave it out")


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise UserError("no seed: name some, such as --seeds 1 2 3")
    for seed, count in Counter(seeds).items():
        if count > 1:
            raise UserError(f"--seeds names {seed} twice, which would repeat the same runs: name every seed once")
        if not 0 <= seed < 2**32:
            raise UserError(f"--seeds {seed}: a seed is a whole number from 0 to {2**32 - 1}")
