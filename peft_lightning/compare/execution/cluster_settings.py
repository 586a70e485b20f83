"""Reads what runs ask a cluster for from a YAML file, ``--executor_settings``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from peft_lightning.errors import UserError
from peft_lightning.runs.checked_json import build

Settings = TypeVar("Settings")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_settings(
    path: Path | None,
    kind: type[Settings],
    mistake: Callable[[Mapping[str, Any]], str | None] = lambda content: None,
) -> Settings:
    """Reads settings.

    Args:
        path: The file; None for the defaults.
        kind: The dataclass of the settings. One called ``environment`` holds variables by their names.
        mistake: Names what is wrong in the content of the file, before types are checked; None for nothing.

    Raises:
        UserError: If it cannot be read, or a setting is none.
    """
    if path is None:
        return kind()
    where = f"--executor_settings {path}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: is no YAML: {error}") from error
    content = {} if content is None else content
    known = [of.name for of in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise UserError(f"{where}: must state settings by their names: {', '.join(known)}")
    if unknown := [str(name) for name in content if name not in known]:
        verb = "is no setting" if len(unknown) == 1 else "are no settings"
        raise UserError(f"{where}: {', '.join(unknown)} {verb}: there are {', '.join(known)}")
    if (wrong := mistake(content)) is not None:
        raise UserError(f"{where}: {wrong}")
    try:
        settings = build(kind, content)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    if odd := [name for name in getattr(settings, "environment", {}) if not NAME.fullmatch(name)]:
        raise UserError(f"{where}: {odd[0]} in environment is no name of a variable")
    return settings
