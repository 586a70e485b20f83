"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that logits are divided by.

The mean log loss of logits times b is convex in b = 1 / T. So the best b is where its slope is 0, which a bracketing
solver finds to the last digits; an optimiser by steps, as in the paper's code, needs a rate and may end early.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Of a temperature below a thousandth, only a handful of texts on the border would be left uncertain.
_STEEPEST = 2.0**10


def fit_temperature(slope: Callable[[float], float]) -> float | None:
    """Finds the temperature of the lowest log loss.

    Args:
        slope: The slope of the mean log loss in b, the inverse of the temperature; it never falls.

    Returns:
        The temperature. None if there is no best one: the loss falls for ever towards 0, because all answers are
        right, or towards infinity, because they are no better than chance.
    """
    from scipy.optimize import brentq

    if slope(0.0) >= 0:
        return None
    high = 1.0
    while slope(high) <= 0:
        high *= 2
        if high > _STEEPEST:
            return None
    return float(1 / brentq(slope, 0.0, high, xtol=1e-12, rtol=1e-12))


def slope_of_classes(logits: Floats, targets: npt.NDArray[np.int64]) -> Callable[[float], float]:
    """Returns the slope of the mean cross entropy.

    Args:
        logits: Outputs, shape (n, classes).
        targets: The true classes, shape (n,).
    """
    # Behind the largest of a row, none is above 0 and no exponential overflows.
    behind = logits - logits.max(axis=1, keepdims=True)
    true = behind[np.arange(len(targets)), targets]

    def slope(b: float) -> float:
        weights = np.exp(b * behind)
        expected = (weights * behind).sum(axis=1) / weights.sum(axis=1)
        return float((expected - true).mean())

    return slope


def slope_of_labels(logits: Floats, targets: npt.NDArray[np.bool_]) -> Callable[[float], float]:
    """Returns the slope of the mean binary cross entropy.

    Args:
        logits: Outputs, shape (n, labels).
        targets: Which labels a text has, shape (n, labels).
    """
    margins = np.where(targets, logits, -logits)

    def slope(b: float) -> float:
        # The share that a margin leaves open, 1 / (1 + exp(b * margin)), without overflow.
        left_open = np.exp(-np.logaddexp(0.0, b * margins))
        return float(-(margins * left_open).mean())

    return slope
