"""Chooses the probability above which a class or label is answered, by a metric on labelled examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.calibration import ThresholdMetric

Floats = npt.NDArray[np.float64]
# Hits, false alarms, misses and right rejections at each of some thresholds.
Measure = Callable[[Floats, Floats, Floats, Floats], Floats]
HALF = 0.5
_SETTING = Setting("calibration.thresholds")
# Labels that a note names.
_FEW = 5


def best_threshold(probabilities: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_], measure: Measure) -> float:
    """Returns the threshold with the highest value of a measure; of equal ones, that nearest to a half.

    Between two neighbouring probabilities all thresholds decide alike, so the middle is tried, and both ends.

    Args:
        probabilities: Probability of the class or label, shape (n,).
        truth: Whether the example has it, shape (n,).
        measure: The measure.

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


_of_two_classes: Mapping[ThresholdMetric, Measure] = {
    "acc": _accuracy,
    "balanced_acc": _balanced_accuracy,
    "f1": _macro_f1,
    "mcc": _matthews,
}
_of_a_label: Mapping[ThresholdMetric, Measure] = {**_of_two_classes, "f1": _f1}


def threshold_of_two_classes(
    answers: npt.NDArray[np.float32], targets: npt.NDArray[Any], metric: ThresholdMetric
) -> tuple[tuple[float], list[str]]:
    """Chooses the probability of the second class above which it is answered.

    Args:
        answers: Probabilities of the classes, shape (n, classes).
        targets: The classes, shape (n,).
        metric: What the threshold is chosen by.

    Returns:
        The threshold, and notes on why none could be chosen.
    """
    true = targets == 1
    if answers.shape[1] > 2 or true.all() or not true.any():
        return (HALF,), ["the validation rows that were answered are all of one class: the threshold stays 0.5"]
    return (best_threshold(answers[:, 1], true, _of_two_classes[metric]),), []


def thresholds_of_labels(
    answers: npt.NDArray[np.float32], targets: npt.NDArray[Any], metric: ThresholdMetric, names: Sequence[str]
) -> tuple[tuple[float, ...], list[str]]:
    """Chooses for each label the probability above which it is answered.

    Args:
        answers: Probabilities of the labels, shape (n, labels).
        targets: 1 where an example has the label, else 0, shape (n, labels).
        metric: What the thresholds are chosen by.
        names: The names of the labels.

    Returns:
        The thresholds, and notes on those that could not be chosen.
    """
    true, measure, apart = targets.astype(bool), _of_a_label[metric], _told_apart(targets)
    thresholds = [
        best_threshold(answers[:, number], true[:, number], measure) if apart[number] else HALF
        for number in range(len(names))
    ]
    alike = [name for name, differs in zip(names, apart, strict=True) if not differs]
    shown = ", ".join(alike[:_FEW]) + (f" and {len(alike) - _FEW} more" if len(alike) > _FEW else "")
    notes = [f"all or none of the validation rows have {shown}: the threshold stays 0.5"] if alike else []
    return tuple(thresholds), notes


def refuse_classes(names: Sequence[str], targets: npt.NDArray[Any]) -> None:
    """Refuses three or more classes, and validation rows of one class.

    Args:
        names: The names of the classes.
        targets: The classes of the validation rows, shape (n,).

    Raises:
        UserError: If no threshold can be chosen.
    """
    if len(names) > 2:
        raise UserError(
            _SETTING, f" is for two classes or several labels, and the data has {len(names)} classes: leave it out"
        )
    if len(present := np.unique(targets)) < 2:
        raise UserError(
            _SETTING,
            f" cannot be chosen on {len(targets):,} validation rows that are all {names[int(present[0])]}:"
            " validate on more of them, ",
            Setting("data.n_val"),
        )


def refuse_labels(targets: npt.NDArray[Any]) -> None:
    """Refuses validation rows that tell no label apart.

    Args:
        targets: 1 where a validation row has the label, else 0, shape (n, labels).

    Raises:
        UserError: If no threshold can be chosen.
    """
    if not _told_apart(targets).any():
        raise UserError(
            _SETTING,
            f" cannot be chosen on {len(targets):,} validation rows of which all or none have a label: validate on"
            " more of them, ",
            Setting("data.n_val"),
        )


def _told_apart(targets: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tells which labels some rows have and others lack, shape (labels,)."""
    having = targets.astype(bool).sum(axis=0)
    apart: npt.NDArray[np.bool_] = (having > 0) & (having < len(targets))
    return apart
