"""Areas under curves, ranks and correlations, computed in 64 bits and NaN where they are undefined.

The values are scikit-learn's. torchmetrics squashes scores through a sigmoid first, where large ones become ties, and
counts a label that never occurs as 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def ranks(values: Floats) -> Floats:
    """Returns the rank of each value from 1; equal values share their mean rank.

    Args:
        values: Shape (n,).
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return found


def roc_auc(scores: Floats, positive: Flags) -> float:
    """Computes the area under the ROC curve; NaN unless some are positive and some are not.

    Args:
        scores: Shape (n,); higher for the positive.
        positive: Which are positive, shape (n,).
    """
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return math.nan
    return (float(ranks(scores)[positive].sum()) - count * (count + 1) / 2) / (count * others)


def average_precision(scores: Floats, positive: Flags) -> float:
    """Computes the area under the precision-recall curve as the mean precision over the recall's steps.

    Args:
        scores: Shape (n,); higher for the positive.
        positive: Which are positive, shape (n,).

    Returns:
        The area; NaN if none is positive.
    """
    if not positive.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # Of equal scores all are taken together.
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(positive[order])[ends]
    precision = hits / (ends + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def label_ranking(scores: Floats, targets: Flags) -> float:
    """Computes the label ranking average precision: of the labels ranked as high as a true one, the share that is true.

    Args:
        scores: Shape (n, labels).
        targets: Which labels are true, shape (n, labels).

    Returns:
        The mean over the rows, 1 for a row of which all labels or none are true; NaN without rows.
    """
    if not len(scores):
        return math.nan
    total = 0.0
    for row in label_rankings(scores, targets).tolist():
        total += row
    return total / len(scores)


def label_rankings(scores: Floats, targets: Flags) -> Floats:
    """Computes the label ranking average precision of each row, shape (n,).

    Args:
        scores: Shape (n, labels).
        targets: Which labels are true, shape (n, labels).
    """
    found = np.ones(len(scores))
    for number, (row, truth) in enumerate(zip(scores, targets, strict=True)):
        count = int(truth.sum())
        if count in (0, len(row)):
            continue
        of_true = row[truth]
        above = len(row) - np.searchsorted(np.sort(row), of_true)
        true_above = count - np.searchsorted(np.sort(of_true), of_true)
        found[number] = (true_above / above).mean()
    return found


def pearson(first: Floats, second: Floats) -> float:
    """Computes Pearson's correlation; NaN if either is constant, or of fewer than two.

    Args:
        first: Shape (n,).
        second: Shape (n,).
    """
    if len(first) < 2 or _constant(first) or _constant(second):
        return math.nan
    a, b = first - first.mean(), second - second.mean()
    # Each by its length first, as scipy does: the product of two large sums of squares could overflow.
    found = float((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b)))
    return max(-1.0, min(1.0, found))


def spearman(first: Floats, second: Floats) -> float:
    """Computes Spearman's rank correlation; NaN if either is constant, or of fewer than two.

    Args:
        first: Shape (n,).
        second: Shape (n,).
    """
    return pearson(ranks(first), ranks(second))


def _constant(values: Floats) -> bool:
    return bool((values == values[0]).all())


def mean_of_defined(values: npt.ArrayLike) -> float:
    """Returns the mean of the values that are defined; NaN if none is.

    Args:
        values: Shape (n,), NaN where undefined.
    """
    given = np.asarray(values, dtype=np.float64)
    defined = given[~np.isnan(given)]
    return float(defined.mean()) if len(defined) else math.nan
