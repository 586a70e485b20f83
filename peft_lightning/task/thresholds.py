"""Chooses the probability above which a class or label is answered, by a metric on labelled examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from peft_lightning.task.calibration import ThresholdMetric

Floats = npt.NDArray[np.float64]
# Hits, false alarms, misses and right rejections at each of some thresholds.
Measure = Callable[[Floats, Floats, Floats, Floats], Floats]
HALF = 0.5


def best_threshold(probabilities: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_], measure: Measure) -> float:
    """Returns the threshold with the highest value of a measure; of equal ones, that nearest to a half.

    Between two neighbouring probabilities all thresholds decide alike, so the middle is tried, and both ends.

    Args:
        probabilities: Probability of the class or label, shape (n,).
        truth: Whether the example has it, shape (n,).
        measure: One of ``of_two_classes`` or ``of_a_label``.

    Returns:
        A 32-bit float: a class or label is answered where its probability is above it.
    """
    values, places = np.unique(probabilities.astype(np.float32), return_inverse=True)
    having = np.bincount(places, weights=truth, minlength=len(values))
    lacking = np.bincount(places, minlength=len(values)) - having
    # Above the threshold before values[i] lie that value and all behind it; above the last none.
    hits = np.append(np.cumsum(having[::-1])[::-1], 0.0)
    alarms = np.append(np.cumsum(lacking[::-1])[::-1], 0.0)
    tried = np.concatenate([values[:1] / 2, _between(values), values[-1:]]).astype(np.float64)
    # What a half decides is the middle of a gap too, and stays a half.
    tried[np.searchsorted(values, np.float32(HALF), side="right")] = HALF
    found = measure(hits, alarms, hits[0] - hits, alarms[0] - alarms)
    # An undefined value is never the best; nor is a threshold below 0, which a probability of 0 would need.
    found = np.where(np.isfinite(found), found, -np.inf)
    if values[0] == 0:
        found[0] = -np.inf
    # Values that differ by rounding alone are equal.
    best = np.flatnonzero(found >= found.max() - 1e-12)
    return float(tried[best[np.argmin(np.abs(tried[best] - HALF))]])


def _between(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the middles of neighbouring values; where rounding makes it the upper one, the lower one divides them."""
    middles = ((values[:-1].astype(np.float64) + values[1:]) / 2).astype(np.float32)
    return np.where(middles < values[1:], middles, values[:-1])


def _accuracy(hits: Floats, alarms: Floats, misses: Floats, rejections: Floats) -> Floats:
    return (hits + rejections) / (hits + alarms + misses + rejections)


def _balanced_accuracy(hits: Floats, alarms: Floats, misses: Floats, rejections: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return (hits / (hits + misses) + rejections / (alarms + rejections)) / 2


def _f1(hits: Floats, alarms: Floats, misses: Floats, rejections: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return 2 * hits / (2 * hits + alarms + misses)


def _macro_f1(hits: Floats, alarms: Floats, misses: Floats, rejections: Floats) -> Floats:
    return (_f1(hits, alarms, misses, rejections) + _f1(rejections, misses, alarms, hits)) / 2


def _matthews(hits: Floats, alarms: Floats, misses: Floats, rejections: Floats) -> Floats:
    covered = (hits + alarms) * (hits + misses) * (rejections + alarms) * (rejections + misses)
    # As scikit-learn has it: 0 where all answers are the same.
    products = hits * rejections - alarms * misses
    return np.where(covered > 0, products / np.sqrt(np.where(covered > 0, covered, 1.0)), 0.0)


of_two_classes: Mapping[ThresholdMetric, Measure] = {
    "acc": _accuracy,
    "balanced_acc": _balanced_accuracy,
    "f1": _macro_f1,
    "mcc": _matthews,
}
of_a_label: Mapping[ThresholdMetric, Measure] = {**of_two_classes, "f1": _f1}
