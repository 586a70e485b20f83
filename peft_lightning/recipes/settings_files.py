"""Reads files of settings, and merges several into one configuration.

When a later file or flag names another class, jsonargparse keeps those ``init_args`` whose names the new class also
has: LoRA's ``target_modules`` would silently become IA³'s. Here files are merged before they are parsed, and another
class starts without arguments. So does another type of PEFT.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.errors import UserError

Config = dict[str, Any]
SECTIONS = ("model", "data", "trainer", "checkpoint", "early_stopping", "calibration")
# Beyond so many brackets and dashes a file is not read by libyaml.
_DEEPEST = 2000


def read_config(path: Path, written: bool = False) -> Config:
    """Reads one YAML file of settings.

    Args:
        path: The file.
        written: Whether this program wrote it, so that libyaml reads the same in it: in 1.7 ms instead of 14.

    Raises:
        UserError: If it is not UTF-8, not YAML or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = _read_fast(text) if written else None
        content = yaml.safe_load(text) if content is None else content
    except RecursionError as error:
        raise UserError(f"{path} is not a YAML file of settings: its brackets are nested too deeply") from error
    # A date such as 2024-99-99, or a number of 5,000 digits, is a ValueError of Python's.
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not a YAML file: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: a recipe is a mapping such as `data: {{n_train: 3000}}`")
    for section in SECTIONS:
        if content.get(section) is not None and not isinstance(content[section], dict):
            raise UserError(
                f"{path}: {section} is {content[section]!r}: it holds settings, as in `data: {{n_train: 3000}}`"
            )
    # A section whose lines are all comments states no difference; it does not take away what an earlier file states.
    return {name: value for name, value in content.items() if name not in SECTIONS or value is not None}


def _read_fast(text: str) -> Any:
    """Reads YAML with libyaml; returns None where it is missing, refuses the text, or might not survive it."""
    loader = getattr(yaml, "CSafeLoader", None)
    # Python's recursion ends in an exception where a file is nested too deeply, that of libyaml in a crash.
    deepest = sum(map(text.count, "[{-?"))
    if loader is None or deepest > _DEEPEST:
        return None
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError):  # Python's parser says why
        return None


def method_of(settings: Mapping[str, Any]) -> Any:
    """Returns the ``model.method`` of a configuration: a class in a recipe, None in most overlays."""
    model = settings.get("model")
    return model.get("method") if isinstance(model, Mapping) else None


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Config:
    """Merges an overlay into a configuration; another ``class_path`` or ``peft_type`` replaces the whole node.

    Args:
        base: The configuration so far; not changed.
        overlay: The settings that differ.
    """
    merged: Config = dict(base)
    for key, value in overlay.items():
        current = merged.get(key)
        if (
            isinstance(current, Mapping)
            and isinstance(value, Mapping)
            and not _changes_class(current, value.get("class_path"))
            and not _changes_type(current, value)
        ):
            merged[key] = merge(current, value)
        elif isinstance(value, str) and _changes_class(current, value):
            merged[key] = {"class_path": value}
        elif isinstance(value, str) and isinstance(current, Mapping) and "class_path" in current:
            merged[key] = dict(current)
        else:
            merged[key] = value
    return merged


def read_merged(files: Iterable[Path]) -> Config:
    """Reads files and merges each into those before it.

    Args:
        files: The files, in order.

    Raises:
        UserError: If a file cannot be read.
    """
    config: Config = {}
    for path in files:
        config = merge(config, read_config(path))
    return config


def _changes_class(node: object, class_path: object) -> bool:
    """Tells whether ``class_path`` names another class than the node has; only the last part of each path counts."""
    if not isinstance(node, Mapping) or "class_path" not in node or not isinstance(class_path, str):
        return False
    return str(node["class_path"]).rsplit(".", 1)[-1] != class_path.rsplit(".", 1)[-1]


def _changes_type(node: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Tells whether a method's configuration names another type of PEFT than the node has."""
    return "peft_type" in value and str(node.get("peft_type", "")).upper() != str(value["peft_type"]).upper()
