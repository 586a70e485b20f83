"""Checks that recipes draw the same reviews, so that their test answers can be compared review by review."""

import inspect
from collections.abc import Mapping
from typing import Any

from peft_lightning.errors import UserError

# The settings that decide on which reviews a run trains, validates and tests.
DRAWING = (
    *("source", "text_column", "text_pair_column", "label_column", "configuration"),
    *("train_split", "val_split", "test_split", "quoting"),
    *("deduplicate", "n_train", "n_val", "n_test", "seed"),
)


def check_same_reviews(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks that all recipes draw the same reviews.

    Args:
        recipes: The settings of each recipe, with the overrides, by the name that the user typed.

    Raises:
        UserError: If two recipes differ in a setting that picks the reviews.
    """
    names = list(recipes)
    drawing = [recipes[name].get("data") or {} for name in names]
    for name, data in zip(names, drawing, strict=True):
        if not isinstance(data, Mapping):
            raise UserError(f"{name}: data is {data!r}: it must be a mapping such as `data: {{n_train: 3000}}`")
    for position in range(1, len(names)):
        different = []
        for key in DRAWING:
            first, other = _value(drawing[0], drawing[position], key), _value(drawing[position], drawing[0], key)
            if first != other:
                different.append((key, first, other))
        if different:
            values = ", ".join(f"data.{key} {_word(first)} and {_word(other)}" for key, first, other in different)
            mend = " ".join(f"--data.{key} {_word(first)}" for key, first, _ in different)
            raise UserError(
                f"{names[0]} and {names[position]} draw different reviews ({values}), so their answers cannot be"
                f" paired: give all runs the same, such as {mend}"
            )


def _value(data: Mapping[str, Any], other: Mapping[str, Any], key: str) -> Any:
    if key in data:
        return data[key]
    # If neither recipe states a setting, both have its default, and torch need not be imported to look it up.
    return _default(key) if key in other else None


def _default(key: str) -> Any:
    from peft_lightning.data.datamodule import TextDataModule

    return inspect.signature(TextDataModule).parameters[key].default


def _word(value: object) -> str:
    return "null" if value is None else str(value)
