"""What recipes must share so that their test answers can be compared review by review: the subsets that they draw."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, merge, read_flags

# What decides which reviews a run trains, validates and tests on.
DRAWING = ("source", "text_column", "label_column", "n_train", "n_val", "n_test", "seed")
# What a comparison decides by itself, and how its user says it.
DECIDED = {
    "config": "name further files with --overlay",
    "seed_everything": "say --seeds",
    "trainer.default_root_dir": "every run has its folder in the comparison's, which --name names",
    "ckpt_path": "go on with a comparison by --resume",
    "test_after_fit": "a comparison is of test results",
    "model.method": "it would give all recipes the same method",
    "model.method.class_path": "it would give all recipes the same method",
}


def overrides_as_overlay(words: Sequence[str]) -> Config:
    """Reads ``--data.n_train 400`` as the differences that it makes to a recipe.

    Args:
        words: The overrides for all runs; ``--name value`` or ``--name=value``.

    Returns:
        The same as nested settings.

    Raises:
        UserError: If a word is no override, or overrides what the comparison decides.
    """
    for flag, _ in read_flags(words):
        name = flag.removeprefix("--")
        if not flag.startswith("--") or not name:
            raise UserError(f"{flag!r} is no override: settings for all runs are given as --data.n_train 400")
        if name in DECIDED:
            raise UserError(f"--{name} cannot be overridden in a comparison: {DECIDED[name]}")
    return flags_as_overlay(words)


def flags_as_overlay(words: Sequence[str]) -> Config:
    """Reads flags as nested settings, whatever they set; a later one wins.

    Args:
        words: The flags; ``--name value`` or ``--name=value``.
    """
    overlay: Config = {}
    for flag, value in read_flags(words):
        try:
            node: Any = True if value is None else yaml.safe_load(value)
        except yaml.YAMLError:  # a text that only looks like YAML: the parser of `fit` takes it as it is
            node = value
        for key in reversed(flag.removeprefix("--").split(".")):
            node = {key: node}
        overlay = merge(overlay, node)
    return overlay


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
            said = ", ".join(f"data.{key} {_word(first)} and {_word(other)}" for key, first, other in different)
            mend = " ".join(f"--data.{key} {_word(first)}" for key, first, _ in different)
            raise UserError(
                f"{names[0]} and {names[position]} draw different reviews ({said}), so their answers cannot be paired:"
                f" give all runs the same, such as {mend}"
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
