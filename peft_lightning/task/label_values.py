"""Values of labels: the numbers that words spell, and which columns or lists hold 0 and 1 alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}


def number_in(value: object) -> float | None:
    """Returns the number that a value is or spells; None for words, truth values and what is not finite.

    Args:
        value: A label, or a value in one.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
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
