"""What was compared: the sentences that a page begins with, and the settings that it ends with."""

from __future__ import annotations

from typing import Any

import yaml

from peft_lightning.compare.fairness.settings import listing, short_listing
from peft_lightning.compare.plan.overrides import as_flags
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.findings import first_record
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.study import MANY, Study


def introduce(study: Study, hide: Hiding) -> list[str]:
    """Returns the introduction: recipes, backbone, data and device, in sentences.

    Args:
        study: The runs.
        hide: Changes what may contain paths of this machine.
    """
    planned = [recipe.label for recipe in study.recipes if recipe.planned]
    joined = [recipe.label for recipe in study.recipes if not recipe.planned]
    seeds = ", ".join(map(str, study.plan.seeds))
    whole = all(run.state == "finished" for recipe in study.recipes if recipe.planned for run in recipe.runs)
    trained = "trained" if whole else "to be trained"
    recipes = f"{len(planned)} recipes" if len(planned) >= MANY else listing(planned)
    sentences = [f"{recipes}, each {trained} with {words.runs(len(study.plan.seeds))} ({seeds})."]
    found = first_record(study.recipes)
    if found is not None:
        record = found[1]
        clauses = []
        if record.backbone is not None:
            clauses.append(f"Backbone {hide.value(record.backbone.name)}")
        if (data := record.dataset) is not None:
            clauses.append(
                f"reviews from {hide.value(data.source)}: {data.n_train:,} to train on, {data.n_val:,} to validate on,"
                f" {data.n_test:,} to test on, {data.length_in_words}"
            )
        if record.environment is not None:
            clauses.append(f"run on {record.environment.device} at {record.environment.precision}")
        sentences.append("; ".join(clauses) + ".")
    if joined:
        verb = "has" if len(joined) == 1 else "have"
        sentences.append(f"{short_listing(joined)} {verb} joined from other runs.")
    return sentences


def describe_recipes(study: Study, hide: Hiding) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Returns what was given to all recipes, and the settings of each.

    Args:
        study: The runs.
        hide: Changes what may contain paths of this machine.
    """
    return _commands(study, hide), [
        {
            "label": recipe.label,
            "origin": hide.value(recipe.origin),
            "settings": yaml.safe_dump(hide.value(recipe.settings), sort_keys=False, allow_unicode=True),
        }
        for recipe in study.recipes
    ]


def _commands(study: Study, hide: Hiding) -> list[tuple[str, str]]:
    overlays = " ".join(str(hide.value(overlay)) for overlay in study.plan.overlays)
    overrides = " ".join(f"{flag} {hide.value(value)}" for flag, value in as_flags(study.plan.overrides))
    rows = (("Laid over every recipe", overlays), ("Given to every run", overrides))
    return [(what, flags) for what, flags in rows if flags]
