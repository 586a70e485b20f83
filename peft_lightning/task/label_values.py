"""Values of labels: the words for them, the numbers that words spell, and which lists hold 0 and 1 alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from peft_lightning.errors import UserError

# A number as words spell it: digits, with a point and an exponent at most.
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}


def whole(value: object) -> object:
    """Returns a float that has no decimals as a whole number, and any other value as it is.

    Args:
        value: A label, or a value in one.
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def spelled(value: object, names: Sequence[str] | None) -> str | None:
    """Returns the word for a whole number, a truth value or a word; None for what is none of these.

    Args:
        value: A label, or a value in one, as ``whole`` returns it.
        names: Names of the labels 0, 1, …, if the source has them.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        if names is None:
            return str(value)
        return names[value] if 0 <= value < len(names) else None
    return value.strip() if isinstance(value, str) else None


def number_in(value: object) -> float | None:
    """Returns the number that a value is or spells; None for words, truth values and what is not finite.

    Args:
        value: A label, or a value in one.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def flag_in(value: object) -> int | None:
    """Returns 0 or 1 for a value that says no or yes; None for others.

    Args:
        value: A label, or a value in one.
    """
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return int(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def is_fraction(value: object) -> bool:
    """Tells whether a value is a number with decimals that are not 0.

    Args:
        value: A label, or a value in one.
    """
    number = number_in(value)
    return number is not None and not number.is_integer()


def are_flags(rows: Iterable[Any]) -> bool:
    """Tells whether all values of all rows say no or yes.

    Args:
        rows: Rows of values.
    """
    return all(flag_in(value) is not None for row in rows for value in row)


def plain(value: object) -> str:
    """Returns a label's value as an error shows it."""
    return repr(value) if not isinstance(value, float) else f"{value:g}"


def listed(names: Sequence[str]) -> str:
    """Returns names as an error lists them: the first ten, and how many there are.

    Args:
        names: The names.
    """
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, … ({len(names)} in all)"


def unknown_label(source: str, row: int, label: str, names: Sequence[str]) -> UserError:
    """Returns the error of a test row with a label that training lacks.

    Args:
        source: Name of the test rows.
        row: Number of the row, from 0.
        label: Its label.
        names: The labels that training has.
    """
    return UserError(
        f"row {row + 1} of {source} has the label {label!r}, which training never had"
        f" (it has {listed([repr(name) for name in names])}): remove those rows or mend the label"
    )
