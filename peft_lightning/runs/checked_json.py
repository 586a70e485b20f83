"""Reads JSON that may be damaged or not ours into dataclasses, and checks every value against its field's type.

Every way in which a file can be wrong is a ``ValueError`` or an ``OSError``, whose message says what is wrong.
"""

import dataclasses
import json
import math
import reprlib
import stat
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

# A record has some 3 kB, the plan of a hundred recipes some 400 kB.
MOST_BYTES = 64 * 2**20
# Whole numbers are counts, sizes and seeds. Beyond 64 bits they cannot be averaged or drawn.
MOST = 2**63 - 1
T = TypeVar("T")
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = 60


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If it is no file, too large, not UTF-8 or not JSON; NaN and Infinity are not JSON.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # to read from a pipe would wait for ever
        raise ValueError("it is no file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If it is no JSON, or no object.
    """
    content: dict[str, Any] = checked(dict[str, Any], read_json(path), "the content")
    return content


def schema_of(content: Mapping[str, Any]) -> int:
    """Returns the version that a file says it is of.

    Raises:
        ValueError: If it says none.
    """
    schema: int = checked(int, content.get("schema"), "schema")
    return schema


def build(cls: type[T], content: Mapping[str, Any]) -> T:
    """Builds a dataclass, and those nested in it, from JSON; refuses unknown and missing keys, and other types.

    Args:
        cls: The dataclass.
        content: The values of its fields, as JSON has them.

    Raises:
        ValueError: If the content is not of this dataclass.
    """
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(content) - set(hints)):
        raise ValueError(f"unknown keys {_shown.repr(unknown)}")
    needed = [field.name for field in dataclasses.fields(cls) if _needed(field)]  # type: ignore[arg-type]
    if missing := [name for name in needed if name not in content]:
        raise ValueError(f"{missing[0]} is missing")
    return cls(**{key: checked(hints[key], value, key) for key, value in content.items()})


def checked(hint: Any, value: Any, name: str) -> Any:
    """Returns a value as the type that a hint names.

    Args:
        hint: A type of plain values: a dataclass, None, bool, int, float, str, a Literal, or a list, tuple, dict or
            union of these.
        value: A value from JSON.
        name: Its name, for the error.

    Raises:
        ValueError: If the value is not of the type, or is a number that is infinite or does not fit into 64 bits.
    """
    if hint is Any:
        return value
    if get_origin(hint) in (types.UnionType, typing.Union):
        return _one_of(get_args(hint), value, name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return build(hint, value)
    if get_origin(hint) is Literal:
        return value if _is_literal(value, get_args(hint)) else _refuse(value, name)
    if get_origin(hint) in (list, tuple) and isinstance(value, list):
        return get_origin(hint)(checked(get_args(hint)[0], item, name) for item in value)
    if get_origin(hint) is dict and isinstance(value, dict):
        return {key: checked(get_args(hint)[1], item, f"{name} {_shown.repr(key)}") for key, item in value.items()}
    if hint in (bool, type(None)) and isinstance(value, hint):
        return value
    if isinstance(value, bool):  # which Python counts among the whole numbers
        return _refuse(value, name)
    if isinstance(value, int) and abs(value) > MOST:
        return _refuse(value, name)
    if hint is float and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if hint is int and isinstance(value, int):
        return value
    if hint is str and isinstance(value, str) and _is_text(value):
        return value
    return _refuse(value, name)


def _one_of(options: tuple[Any, ...], value: Any, name: str) -> Any:
    """Checks a value against a union; where only None is the other option, the error is that of the first."""
    others = [option for option in options if option is not type(None)]
    if value is None and len(others) < len(options):
        return None
    if len(others) == 1:
        return checked(others[0], value, name)
    for option in others:
        try:
            return checked(option, value, name)
        except ValueError:
            continue
    return _refuse(value, name)


def _is_literal(value: Any, choices: tuple[Any, ...]) -> bool:
    return any(value == choice and type(value) is type(choice) for choice in choices)


def _is_text(value: str) -> bool:
    # JSON can spell half of a surrogate pair, which no file and no terminal takes.
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(value: Any, name: str) -> NoReturn:
    raise ValueError(f"{name} is {_shown.repr(value)}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
