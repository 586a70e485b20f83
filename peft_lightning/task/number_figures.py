"""Figures of one evaluation of numbers, computed in 64 bits from all its examples; NaN where they are undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.rankings import pearson, spearman

Floats = npt.NDArray[np.float64]


def number_figures(logits: Floats, answers: npt.NDArray[Any], targets: npt.NDArray[Any]) -> dict[str, float]:
    """Computes the figures of an evaluation, means over the numbers where a text has several.

    Args:
        logits: The model's outputs, shape (n, numbers); not used, the answers are the same numbers.
        answers: The answers, shape (n,) or (n, numbers).
        targets: The true numbers, shape (n,) or (n, numbers).

    Returns:
        Figures by their keys.
    """
    found, true = (values.astype(np.float64).reshape(len(values), -1) for values in (answers, targets))
    errors = found - true
    pairs = list(zip(found.T, true.T, strict=True))
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean(axis=0)).mean()),
        "r2": float(np.mean([determined(a, b) for a, b in pairs])),
        "pearson": float(np.mean([pearson(a, b) for a, b in pairs])),
        "spearman": float(np.mean([spearman(a, b) for a, b in pairs])),
    }


def determined(found: Floats, true: Floats) -> float:
    """Computes the coefficient of determination; NaN if all true numbers are the same.

    Args:
        found: The answers, shape (n,).
        true: The true numbers, shape (n,).
    """
    spread = float(((true - true.mean()) ** 2).sum())
    if (true == true[0]).all() or not spread:
        return math.nan
    return 1.0 - float(((true - found) ** 2).sum()) / spread
