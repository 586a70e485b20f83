"""Finds runs on other data than the comparison's, whose memory, time and metrics cannot be compared."""

from __future__ import annotations

from peft_lightning.compare.report.study import Recipe, Study
from peft_lightning.runs.record import DatasetFigures


def other_data(study: Study) -> dict[str, str]:
    """Finds the recipes with runs on other data than the comparison's own recipes have.

    Returns:
        Their data in words, by label; empty if none of the comparison's own recipes has recorded its data.
    """
    own = {_key(data) for recipe in study.recipes if recipe.planned for data in _datasets(recipe)}
    found = {}
    for recipe in study.recipes:
        other = [data for data in _datasets(recipe) if _key(data) not in own]
        if own and other:
            found[recipe.label] = _in_words(other[0])
    return found


def _datasets(recipe: Recipe) -> list[DatasetFigures]:
    return [run.record.dataset for run in recipe.runs if run.record is not None and run.record.dataset is not None]


def _key(data: DatasetFigures) -> tuple[str | int, ...]:
    # The fingerprint is of the texts, so the same texts from another folder are the same data.
    return data.fingerprint, data.n_train, data.n_val, data.n_test, data.max_length


def _in_words(data: DatasetFigures) -> str:
    return (
        f"{data.n_train:,} texts to train on, {data.n_val:,} to validate on, {data.n_test:,} to test on,"
        f" {data.length_in_words}"
    )
