"""Overrides: settings for all runs that a user gives on the command line of ``compare``.

They are read once and kept with the plan. A value stays a text, because its meaning depends on the setting's type
(``2024`` is a folder's name or a number). The parser of ``fit`` knows the type, and reads a text in a file as it reads
a word.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, merge, read_flags

# Settings that a comparison decides by itself, and what its user does instead.
DECIDED = {
    "config": "what holds for all recipes is laid over them before",
    "seed_everything": "say --seeds",
    "trainer.default_root_dir": "every run has its folder in the comparison's, which --name names",
    "ckpt_path": "go on with a comparison by --resume",
    "test_after_fit": "a comparison is of test results",
    "rehearsal": "the forecast rehearses, and the runs do not",
    "recipe": "a run's record names the recipe that it was planned with",
    "model.method": "it would give all recipes the same method",
    "model.method.class_path": "it would give all recipes the same method",
}
# ``--trainer.callbacks+=X`` appends; so does a key that ends in it among the overrides.
APPEND = "+"
# A single class with arguments becomes a list here, as in jsonargparse: an unfinished run is found by the hash of its
# configuration, which must be the same.
LISTS = ("callbacks",)
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def read_overrides(words: Sequence[str]) -> Config:
    """Reads words such as ``--data.n_train 400`` into nested settings; a later one replaces an earlier one.

    Args:
        words: The overrides for all runs; ``--name value`` or ``--name=value``, and ``--name+=value`` to append.

    Returns:
        The nested settings, for ``override``.

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
    """Lays overrides over a recipe, as ``fit`` lays the same flags over its files.

    Args:
        settings: The recipe with its overlays, which is not changed.
        overrides: The result of ``read_overrides``.

    Returns:
        The settings of a run.
    """
    return _laid_over(settings, overrides, pending=False)


def value_of(text: str) -> Any:
    """Returns the value that YAML reads in an override's text, or the text itself if it is not valid YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def values_of(settings: Mapping[str, Any]) -> Config:
    """Returns settings in which each text is replaced by the value that YAML reads in it."""
    return {
        key: values_of(value) if isinstance(value, Mapping) else value_of(value) if isinstance(value, str) else value
        for key, value in settings.items()
    }


def as_flags(overrides: Mapping[str, Any], prefix: str = "--") -> Iterator[tuple[str, Any]]:
    """Turns overrides into the flags of a command line, for the report.

    Args:
        overrides: The result of ``read_overrides``.
        prefix: The beginning of each flag.

    Yields:
        A flag such as ``--data.n_train``, and its value as it was written.
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
        pending: Whether ``base`` holds overrides itself, so that an appended item waits for the recipe's list.
    """
    laid: Config = dict(base)
    for key, value in overlay.items():
        name = key.removesuffix(APPEND)
        if key.endswith(APPEND):
            target = key if pending and _waits(laid.get(name)) else name
            laid[target] = [*_as_list(laid.get(target)), *(item for appended in value for item in _as_list(appended))]
        elif isinstance(value, Mapping) and f"{name}{APPEND}" in laid and not _names_class(value):
            laid[f"{name}{APPEND}"] = _in_last(laid[f"{name}{APPEND}"], value)
        elif isinstance(value, Mapping):
            laid[name] = _with_arguments(name, laid.get(name), value, pending)
        else:
            laid.pop(f"{name}{APPEND}", None)
            laid[name] = _replaced(laid.get(name), value)
    return laid


def _with_arguments(name: str, current: Any, value: Mapping[str, Any], pending: bool) -> Any:
    """Lays a mapping over a setting: sections merge; for a class, keys such as ``r`` become arguments of the class."""
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
    """Puts ``r: 4`` into a class's ``init_args``, which is what ``--model.method.r 4`` means."""
    for key, item in value.items():
        node = merge(node, {key: item} if key in _CLASS_KEYS else {"init_args": {key: item}})
    return dict(node)


def _replaced(current: Any, value: Any) -> Any:
    """Replaces a setting. The name of the same class keeps that class's arguments, as in an overlay."""
    if isinstance(current, Mapping) and "class_path" in current and isinstance(value, str):
        if not isinstance(value_of(value), str):  # false, null
            return value
        return merge({"node": current}, {"node": value})["node"]
    return value


def _waits(current: Any) -> bool:
    """Returns whether an appended item waits for the recipe's list: no value is set, or only arguments for its last."""
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
