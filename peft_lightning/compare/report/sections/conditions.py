"""The sections on what was the same for all recipes and what was not."""

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
    """Lists what differs beyond the method.

    Args:
        study: The runs.
        surroundings: What they ran on.
        hide: What is done to what may hold paths of this machine.
    """
    configs = {recipe.label: config for recipe in study.recipes if (config := recipe.config) is not None}
    tried = study.tuning.tried if study.tuning else None
    content: dict[str, Any] = {
        "surroundings": [
            *(sentence for recipe in study.recipes for sentence in _unequal_runs(recipe, hide)),
            *(hide.text(sentence) for sentence in surroundings_in_words(surroundings, study.task.headline)),
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
    """Lists the learning rates tried; None where that was not recorded.

    Args:
        study: The runs.
    """
    tuning = study.tuning
    if tuning is None:
        return None
    rows = [
        {
            "label": label,
            "first": len(tries) if place == 0 else 0,
            "rate": words.scientific(one.learning_rate),
            "validation": "diverged" if one.diverged else tuning.metric.words(one.validation),
            "loss": words.number(one.val_loss),
            "chosen": one.learning_rate == tuning.chosen.get(label),
        }
        for label, tries in tuning.tries.items()
        for place, one in enumerate(tries)
    ]
    return {
        "metric": tuning.metric,
        "note": _tried(study),
        "chosen": [f"{said}." for said in tuning_in_words(_measured(tuning))],
        "rows": rows,
    }


def _measured(tuning: Tuning) -> Tuning:
    """Leaves out what was to be tried and has no result: it was not tried, and is no lowest or highest rate."""
    measured = {label: tuple(one for one in tries if one.tried) for label, tries in tuning.tries.items()}
    return replace(
        tuning, tries=measured, chosen={label: rate for label, rate in tuning.chosen.items() if label in measured}
    )


def _tried(study: Study) -> str:
    tuning = study.tuning
    if tuning is None:
        return "How many learning rates were tried for each recipe is not recorded."
    sentences = [
        _counted(tuning),
        *_listed(tuning, lambda one: one.diverged, "Diverged"),
        *_listed(tuning, lambda one: not one.tried, "Without a result, and not counted as tried"),
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
    told = "; ".join(f"{label} {count}" for label, count in tuning.tried.items())
    if len(counts) < 2:
        return f"Fewer learning rates were tried for each tuned recipe than the {tuning.budget} planned ({told})."
    return f"Not the same number of learning rates was tried for each recipe ({told})."


def _listed(tuning: Tuning, which: Callable[[Try], bool], what: str) -> list[str]:
    """The rates of which something is to be said; no sentence where there are none."""
    found = {
        label: [words.scientific(one.learning_rate) for one in tries if which(one)]
        for label, tries in tuning.tries.items()
    }
    told = "; ".join(f"{listing(rates)} for {label}" for label, rates in found.items() if rates)
    return [f"{what}: {told}."] if told else []


def _loud(differences: tuple[SettingDifference, ...], study: Study) -> str:
    """The settings that touch a result by themselves, and what they touch."""
    told = [
        f"{difference.setting} touches {_touched(difference, study)}"
        for difference in differences
        if difference.weight.touches
    ]
    return f"{'; '.join(told)}." if told else ""


def _touched(difference: SettingDifference, study: Study) -> str:
    """The results that a setting touches by itself, in words; empty where none is known."""
    touches = difference.weight.touches
    return listing([study.task.headline.name if one == "quality" else one for one in touches]) if touches else ""


def _unequal_runs(recipe: Recipe, hide: Hiding) -> list[str]:
    """Says which settings the runs of one recipe do not share, as they should: their mean is of no one recipe."""
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
    """Each value with the recipes or seeds that have it, however many those are."""
    labels: dict[str, list[str]] = {}
    for label, value in values.items():
        labels.setdefault(_value(hide.value(value)), []).append(label)
    return [(value, listing(some)) for value, some in labels.items()]


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float) and 0 < abs(value) < 0.1:
        return words.scientific(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
