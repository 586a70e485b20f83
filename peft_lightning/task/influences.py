"""Influences: how much each example moves a metric that is no mean over examples.

The influence of an example is the derivative of the metric by the example's weight (Hampel 1974, "The influence curve
and its role in robust estimation"). Influences add up to 0. The variance of the metric over new examples is to first
order that of their mean (Jaeckel 1972, "The infinitesimal jackknife"; Efron 1982, "The jackknife, the bootstrap and
other resampling plans", chapter 6).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.rankings import average_precision, pearson, ranks, roc_auc, spearman

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Values = tuple[float, Floats]
"""A metric's value, NaN if it is undefined, and the influences of the examples, shape (n,)."""


def ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Values:
    """Returns the ratio of two sums over the examples, and the influences.

    Args:
        above: What is summed above the line, shape (n,).
        below: What is summed below it, shape (n,).
    """
    mean = float(below.mean())
    if mean == 0:
        return math.nan, np.zeros(len(below))
    value = float(above.mean()) / mean
    return value, (above - value * below) / mean


def mean_of_values(several: list[Values]) -> Values:
    """Returns the mean of the metrics that are defined, and the influences on it; NaN if none is.

    Args:
        several: Metrics of the same examples, one or more.
    """
    defined = [(value, influence) for value, influence in several if not math.isnan(value)]
    if not defined:
        return math.nan, np.zeros_like(several[0][1])
    return (
        float(np.mean([value for value, _ in defined])),
        np.mean([influence for _, influence in defined], axis=0),
    )


def area_under_roc(scores: Floats, positive: Flags) -> Values:
    """Returns the area under the ROC curve, and the influences (DeLong et al. 1988).

    Args:
        scores: Shape (n,); higher for the positive.
        positive: Which are positive, shape (n,).
    """
    value = roc_auc(scores, positive)
    if math.isnan(value):
        return value, np.zeros(len(scores))
    share = np.empty(len(scores))
    every = ranks(scores)
    for side in (positive, ~positive):
        # Of the other side, the share that is ranked below; of a tie half.
        share[side] = (every[side] - ranks(scores[side])) / (len(scores) - side.sum())
    share[~positive] = 1 - share[~positive]
    sizes = np.where(positive, positive.mean(), 1 - positive.mean())
    return value, (share - value) / sizes


def area_under_precision_recall(scores: Floats, positive: Flags) -> Values:
    """Returns the area under the precision-recall curve as the mean precision over recall's steps, and the influences.

    An example counts in the precision at every positive that is ranked no higher; a positive one also at its own.

    Args:
        scores: Shape (n,); higher for the positive.
        positive: Which are positive, shape (n,).
    """
    value = average_precision(scores, positive)
    if math.isnan(value):
        return value, np.zeros(len(scores))
    distinct, places = np.unique(scores, return_inverse=True)
    n, count = len(scores), int(positive.sum())
    here = np.bincount(places, weights=positive, minlength=len(distinct))
    above = np.cumsum(np.bincount(places, minlength=len(distinct))[::-1])[::-1]
    precision = np.cumsum(here[::-1])[::-1] / above
    # Sums over the positives that are ranked no higher.
    per_rank, weighted = np.cumsum(here / above), np.cumsum(here * precision / above)
    of_others = (np.where(positive, per_rank[places], 0.0) - weighted[places]) * n / count
    own = np.where(positive, precision[places] - value, 0.0) * n / count
    return value, of_others + own


def matthews_coefficient(truth: npt.NDArray[np.int64], answered: npt.NDArray[np.int64], value: float) -> Values:
    """Returns Matthews' correlation coefficient, and the influences; none if all answers are the same.

    Args:
        truth: Classes, shape (n,).
        answered: Answered classes, shape (n,).
        value: The coefficient.
    """
    if math.isnan(value):
        return value, np.zeros(len(truth))
    classes = int(max(truth.max(), answered.max())) + 1
    true, named = (np.bincount(of, minlength=classes) / len(truth) for of in (truth, answered))
    of_truth, of_answers = 1 - true @ true, 1 - named @ named
    if of_answers <= 0:
        return value, np.zeros(len(truth))
    right = truth == answered
    both = right - right.mean() - (named[truth] + true[answered] - 2 * true @ named)
    within_truth, within_answers = -2 * (true[truth] - true @ true), -2 * (named[answered] - named @ named)
    influence: Floats = both / math.sqrt(of_truth * of_answers) - value / 2 * (
        within_truth / of_truth + within_answers / of_answers
    )
    return value, influence


def root_mean_square(errors: Floats) -> Values:
    """Returns the root of the mean squared error, and the influences; none if there is no error.

    Args:
        errors: Shape (n,).
    """
    squares = errors**2
    value = float(np.sqrt(squares.mean()))
    return value, np.zeros(len(errors)) if value == 0 else (squares - squares.mean()) / (2 * value)


def determination(errors: Floats, true: Floats, value: float) -> Values:
    """Returns the coefficient of determination, and the influences.

    Args:
        errors: Shape (n,).
        true: The true numbers, shape (n,).
        value: The coefficient.
    """
    if math.isnan(value):
        return value, np.zeros(len(errors))
    squares = (true - true.mean()) ** 2
    return value, ((1 - value) * squares - errors**2) / squares.mean()


def pearson_correlation(first: Floats, second: Floats) -> Values:
    """Returns Pearson's correlation, and the influences (Devlin, Gnanadesikan and Kettenring 1975).

    Args:
        first: Shape (n,).
        second: Shape (n,).
    """
    value = pearson(first, second)
    if math.isnan(value):
        return value, np.zeros(len(first))
    a, b = ((of - of.mean()) / of.std() for of in (first, second))
    return value, a * b - value * (a**2 + b**2) / 2


def spearman_correlation(first: Floats, second: Floats) -> Values:
    """Returns Spearman's rank correlation, and the influences, also by what an example moves the ranks of others.

    Args:
        first: Shape (n,).
        second: Shape (n,).
    """
    value = spearman(first, second)
    n = len(first)
    if math.isnan(value):
        return value, np.zeros(n)
    a, b = ((ranks(of) - 0.5) / n for of in (first, second))
    # An example raises the ranks of all that are above it.
    products = a * b + _sum_above(first, b) / n + _sum_above(second, a) / n - 3 * (a * b).mean()
    squares = [of**2 + 2 * _sum_above(by, of) / n - 3 * (of**2).mean() for by, of in ((first, a), (second, b))]
    influence = products / (a.std() * b.std()) - value / 2 * (squares[0] / a.var() + squares[1] / b.var())
    return value, influence


def _sum_above(values: Floats, summed: Floats) -> Floats:
    """Returns for each example the sum over those of greater value, and half of that over those of the same."""
    _, places = np.unique(values, return_inverse=True)
    here = np.bincount(places, weights=summed)
    from_here = np.cumsum(here[::-1])[::-1]
    found: Floats = (from_here - here / 2)[places]
    return found
