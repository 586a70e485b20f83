"""The sections on the recipes' conditions: settings that differ, and learning rates that were tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from peft_lightning.compare.fairness.settings import (
    SettingDifference,
    compare_settings,
    headline,
    listing,
    shared_rate_in_words,
    unequal_settings,
)
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.study import Recipe, Study
from peft_lightning.compare.report.surroundings import Surrounding, surroundings_in_words
from peft_lightning.compare.stages.tuning import Try, Tuning, tuning_in_words


def describe_fairness(study: Study, surroundings: tuple[Surrounding, ...], hide: Hiding) -> dict[str, Any]:
    """Returns what differs between recipes beyond the method.

    Args:
        study: The runs.
        surroundings: The devices, versions, backbones and engines of the runs.
        hide: Changes texts and settings that may contain paths of this machine.
    """
    configs = {recipe.label: config for recipe in study.recipes if (config := recipe.config) is not None}
    tried = study.tuning.tried if study.tuning else None
    content: dict[str, Any] = {
        "surroundings": [
            *(sentence for recipe in study.recipes for sentence in _unequal_runs(recipe, hide)),
            *(hide.text(sentence) for sentence in surroundings_in_words(surroundings, study.metric)),
        ],
        "rows": [],
        "shared": "",
        "tried": _tried(study),
        "loud": "",
        "headline": "No run has begun, so no settings are known.",
    }
    if not configs:
        return content
    fairness = compare_settings(configs, tried)
    content["headline"] = headline(fairness)
    content["shared"] = shared_rate_in_words(fairness)
    content["rows"] = [
        {
            "setting": difference.setting,
            "values": _by_value(difference.values, hide),
            "touches": _touched(difference, study),
            "words": difference.weight.words,
        }
        for difference in fairness.differences
    ]
    content["loud"] = _loud(fairness.differences, study) if len(configs) > 1 else ""
    return content


def describe_tuning(study: Study) -> dict[str, Any] | None:
    """Returns the learning rates tried; None if that was not recorded."""
    tuning = study.tuning
    if tuning is None:
        return None
    rows = [
        {
            "label": label,
            "first": len(tries) if place == 0 else 0,
            "rate": words.scientific(trial.learning_rate),
            "validation": "diverged" if trial.diverged else tuning.metric.words(trial.validation),
            "loss": words.number(trial.val_loss),
            "chosen": trial.learning_rate == tuning.chosen.get(label),
        }
        for label, tries in tuning.tries.items()
        for place, trial in enumerate(tries)
    ]
    measured = _measured(tuning)
    return {
        "metric": tuning.metric,
        "note": _tried(study),
        "chosen": _ends_in_words(measured) if study.many else [f"{line}." for line in tuning_in_words(measured)],
        "rows": rows,
        "ladders": _ladders(study, tuning) if study.many else [],
    }


def _ladders(study: Study, tuning: Tuning) -> list[dict[str, Any]]:
    """Returns the rates of each recipe in a row, in the order of the recipes."""
    labels = [recipe.label for recipe in study.recipes if recipe.label in tuning.tries]
    return [
        {
            "label": label,
            "cells": [
                {
                    "rate": words.scientific(trial.learning_rate),
                    "validation": "diverged" if trial.diverged else tuning.metric.words(trial.validation),
                    "chosen": trial.learning_rate == tuning.chosen.get(label),
                }
                for trial in tuning.tries[label]
            ],
        }
        for label in labels
    ]


def _ends_in_words(tuning: Tuning) -> list[str]:
    """Names the recipes whose chosen rate is the lowest or the highest tried: beyond it may be a better one."""
    sentences = []
    for place, end in ((0, "lowest"), (-1, "highest")):
        found = [
            label
            for label, rate in tuning.chosen.items()
            if len(tuning.tries[label]) > 1 and tuning.tries[label][place].learning_rate == rate
        ]
        if found:
            sentences.append(f"The {end} rate tried was chosen for {listing(found)}: beyond it may be a better one.")
    return sentences


def _measured(tuning: Tuning) -> Tuning:
    """Leaves out the rates without a result: they were not tried, and do not count as the lowest or highest."""
    measured = {label: tuple(trial for trial in tries if trial.tried) for label, tries in tuning.tries.items()}
    return replace(
        tuning, tries=measured, chosen={label: rate for label, rate in tuning.chosen.items() if label in measured}
    )


def _tried(study: Study) -> str:
    tuning = study.tuning
    if tuning is None:
        return "How many learning rates were tried for each recipe is not recorded."
    sentences = [
        _counted(tuning),
        *_listed(tuning, lambda trial: trial.diverged, "Diverged"),
        *_listed(tuning, lambda trial: not trial.tried, "Without a result, and not counted as tried"),
    ]
    unknown = [recipe.label for recipe in study.recipes if recipe.label not in tuning.tries]
    if unknown:
        sentences.append(f"How many were tried for {listing(unknown)} is not recorded.")
    return " ".join(sentences)


def _counted(tuning: Tuning) -> str:
    counts = set(tuning.tried.values())
    if counts == {tuning.budget}:
        rates = "1 learning rate" if tuning.budget == 1 else f"{tuning.budget} learning rates"
        return f"The same number of learning rates was tried for each tuned recipe: {rates}."
    by_recipe = "; ".join(f"{label} {count}" for label, count in tuning.tried.items())
    if len(counts) < 2:
        return f"Fewer learning rates were tried for each tuned recipe than the {tuning.budget} planned ({by_recipe})."
    return f"Not the same number of learning rates was tried for each recipe ({by_recipe})."


def _listed(tuning: Tuning, which: Callable[[Try], bool], what: str) -> list[str]:
    """Returns a sentence on the rates for which ``which`` holds; no sentence if there are none."""
    found = {
        label: [words.scientific(trial.learning_rate) for trial in tries if which(trial)]
        for label, tries in tuning.tries.items()
    }
    by_recipe = "; ".join(f"{listing(rates)} for {label}" for label, rates in found.items() if rates)
    return [f"{what}: {by_recipe}."] if by_recipe else []


def _loud(differences: tuple[SettingDifference, ...], study: Study) -> str:
    """Names the settings that change a result by themselves, and the results."""
    clauses = [
        f"{difference.setting} touches {_touched(difference, study)}"
        for difference in differences
        if difference.weight.touches
    ]
    return f"{'; '.join(clauses)}." if clauses else ""


def _touched(difference: SettingDifference, study: Study) -> str:
    """Names the results that a setting changes by itself; empty if none is known."""
    touches = difference.weight.touches
    return listing([study.metric.name if result == "quality" else result for result in touches]) if touches else ""


def _unequal_runs(recipe: Recipe, hide: Hiding) -> list[str]:
    """Returns sentences on settings that differ between the runs of one recipe, which should have the same ones."""
    configs = {str(run.seed): run.config for run in recipe.runs if run.config is not None}
    return [
        f"The runs of {recipe.label} are not of one recipe: {setting} was "
        + "; ".join(
            f"{value} with seed{'s' if ' and ' in seeds else ''} {seeds}" for value, seeds in _by_value(values, hide)
        )
        + "."
        for setting, values in unequal_settings(configs).items()
    ]


def _by_value(values: Mapping[str, Any], hide: Hiding) -> list[tuple[str, str]]:
    """Returns each value with the recipes or seeds that have it, in words."""
    labels: dict[str, list[str]] = {}
    for label, value in values.items():
        labels.setdefault(_value(hide.value(value)), []).append(label)
    return [(value, listing(having)) for value, having in labels.items()]


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float) and 0 < abs(value) < 0.1:
        return words.scientific(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
