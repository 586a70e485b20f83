"""Columns of a table that hold an array: one for a single value a row, numbered ones for several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def numbered(name: str, values: Array) -> dict[str, Array]:
    """Returns the columns of an array by name: ``name`` of one column, ``name_0``, ``name_1``, … of several.

    Args:
        name: What the columns hold.
        values: Shape (n,) or (n, columns).
    """
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{number}": np.ascontiguousarray(values[:, number]) for number in range(values.shape[1])}


def together(name: str, columns: Mapping[str, Array]) -> Array:
    """Puts the columns of ``numbered`` together again.

    Args:
        name: What the columns hold.
        columns: All columns of a table.

    Raises:
        KeyError: If there is none.
    """
    if name in columns:
        return columns[name]
    count = 0
    while f"{name}_{count}" in columns:
        count += 1
    if not count:
        raise KeyError(name)
    return np.stack([columns[f"{name}_{number}"] for number in range(count)], axis=1)
