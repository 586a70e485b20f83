"""What recipes must share so that their test answers can be compared review by review: the subsets that they draw."""

import inspect
from collections.abc import Mapping
from typing import Any

from peft_lightning.errors import UserError

# What decides which reviews a run trains, validates and tests on.
DRAWING = ("source", "text_column", "label_column", "n_train", "n_val", "n_test", "seed")


def check_same_reviews(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes sure that all recipes draw the same reviews.

    Args:
        recipes: The settings of each recipe, overrides included, by the name that the user gave it.

    Raises:
        UserError: If two differ in a setting that picks the reviews.
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
    # Where no recipe states a setting its default is the same for both, and torch need not be imported to learn it.
    return _default(key) if key in other else None


def _default(key: str) -> Any:
    from peft_lightning.data.datamodule import TextDataModule

    return inspect.signature(TextDataModule).parameters[key].default


def _word(value: object) -> str:
    return "null" if value is None else str(value)
