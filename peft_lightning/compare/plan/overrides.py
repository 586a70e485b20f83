"""Settings that a comparison's user gives to all runs on the command line, read once and kept as settings.

A value stays the text that it was written as: what it means depends on the setting's type, which the parser of `fit`
knows, and that parser takes the text in a file as it takes the word (``2024`` is a folder's name or a number).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, merge, read_flags

# What a comparison decides by itself, and how its user says it.
DECIDED = {
    "config": "what holds for all recipes is laid over them before",
    "seed_everything": "say --seeds",
    "trainer.default_root_dir": "every run has its folder in the comparison's, which --name names",
    "ckpt_path": "go on with a comparison by --resume",
    "test_after_fit": "a comparison is of test results",
    "recipe": "a run's record names the recipe that it was planned with",
    "model.method": "it would give all recipes the same method",
    "model.method.class_path": "it would give all recipes the same method",
}
# ``--trainer.callbacks+=X`` appends; so does the key in an overlay of overrides.
APPEND = "+"
# One class with arguments becomes a list of one here, as jsonargparse has it: an unfinished run is known by its hash.
LISTS = ("callbacks",)
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def read_overrides(words: Sequence[str]) -> Config:
    """Reads ``--data.n_train 400`` as the differences that it makes to a recipe; a later one wins.

    Args:
        words: The overrides for all runs; ``--name value`` or ``--name=value``, and ``--name+=value`` to append.

    Returns:
        The same as nested settings, for `override`.

    Raises:
        UserError: If a word is no override, or overrides what the comparison decides.
    """
    overrides: Config = {}
    for flag, value in read_flags(words):
        name = flag.removeprefix("--")
        if not flag.startswith("--") or not name:
            raise UserError(f"{flag!r} is no override: settings for all runs are given as --data.n_train 400")
        if name in DECIDED:
            raise UserError(f"--{name} cannot be overridden in a comparison: {DECIDED[name]}")
        if value is None:
            raise UserError(f"--{name} has no value: settings for all runs are given as --data.n_train 400")
        node: Any = value_of(value) if value.startswith("{") else value
        for key in reversed(name.split(".")):
            node = {key: [node] if key.endswith(APPEND) else node}
        overrides = _laid_over(overrides, node, pending=True)
    return overrides


def override(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
    """Lays overrides over a recipe, as `fit` lays the same flags over its files.

    Args:
        settings: The recipe, with its overlays; left as it is.
        overrides: What `read_overrides` made of the command line.

    Returns:
        The settings of a run.
    """
    return _laid_over(settings, overrides, pending=False)


def value_of(text: str) -> Any:
    """Returns what YAML makes of an override's text; the text itself where it only looks like YAML.

    Args:
        text: The override's value, as it was written.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def values_of(settings: Mapping[str, Any]) -> Config:
    """Returns settings with what YAML makes of each text, to be reckoned with.

    Args:
        settings: Settings, overrides laid over them.
    """
    return {
        key: values_of(value) if isinstance(value, Mapping) else value_of(value) if isinstance(value, str) else value
        for key, value in settings.items()
    }


def as_flags(overrides: Mapping[str, Any], prefix: str = "--") -> Iterator[tuple[str, Any]]:
    """Names overrides as a reader of the report knows them.

    Args:
        overrides: What `read_overrides` made of the command line.
        prefix: What stands before each name.

    Yields:
        ``--data.n_train`` and its value, as it was written.
    """
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            yield from as_flags(value, f"{prefix}{key}.")
        elif key.endswith(APPEND):
            yield from ((f"{prefix}{key}", item if isinstance(item, str) else json.dumps(item)) for item in value)
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _laid_over(base: Mapping[str, Any], overlay: Mapping[str, Any], pending: bool) -> Config:
    """Lays an overlay of overrides over settings.

    Args:
        base: The settings.
        overlay: The overrides.
        pending: Whether the settings are overrides themselves, whose appending is kept for the recipe.
    """
    laid: Config = dict(base)
    for key, value in overlay.items():
        name = key.removesuffix(APPEND)
        if key.endswith(APPEND):
            target = key if pending and _waits(laid.get(name)) else name
            laid[target] = [*_as_list(laid.get(target)), *(item for given in value for item in _as_list(given))]
        elif isinstance(value, Mapping) and f"{name}{APPEND}" in laid and not _names_class(value):
            laid[f"{name}{APPEND}"] = _in_last(laid[f"{name}{APPEND}"], value)
        elif isinstance(value, Mapping):
            laid[name] = _with_arguments(name, laid.get(name), value, pending)
        else:
            laid.pop(f"{name}{APPEND}", None)
            laid[name] = _replaced(laid.get(name), value)
    return laid


def _with_arguments(name: str, current: Any, value: Mapping[str, Any], pending: bool) -> Any:
    """Lays a mapping over a setting: sections merge, and a class takes what names no part of it as its arguments."""
    if _names_class(value):
        return merge({"node": current}, {"node": value})["node"]
    if isinstance(current, str) and not isinstance(value_of(current), list):
        named = _in_class({"class_path": current}, value)
        return [named] if name in LISTS else named
    if isinstance(current, str | list) and (items := _as_list(current)):
        return _in_last(items, value)
    if isinstance(current, Mapping) and _names_class(current):
        return _in_class(current, value)
    return _laid_over(current if isinstance(current, Mapping) else {}, value, pending)


def _in_last(items: Sequence[Any], arguments: Mapping[str, Any]) -> list[Any]:
    *others, last = items
    return [*others, _in_class(last if isinstance(last, Mapping) else {"class_path": str(last)}, arguments)]


def _in_class(node: Mapping[str, Any], value: Mapping[str, Any]) -> Config:
    """Puts ``r: 4`` among a class's arguments, where ``--model.method.r 4`` means it."""
    for key, item in value.items():
        node = merge(node, {key: item} if key in _CLASS_KEYS else {"init_args": {key: item}})
    return dict(node)


def _replaced(current: Any, value: Any) -> Any:
    """Replaces a setting; the name of a class keeps the arguments of that class, as in an overlay."""
    if isinstance(current, Mapping) and "class_path" in current and isinstance(value, str):
        if not isinstance(value_of(value), str):  # false, null
            return value
        return merge({"node": current}, {"node": value})["node"]
    return value


def _waits(current: Any) -> bool:
    """Whether what is appended waits for the recipe's own list: nothing is there, or arguments for its last."""
    return current is None or (isinstance(current, Mapping) and not _names_class(current))


def _names_class(value: Mapping[str, Any]) -> bool:
    return "class_path" in value


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        read = value_of(value)
        value = read if isinstance(read, list | Mapping) or read is None else value
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
