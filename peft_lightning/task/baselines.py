"""What a model reaches that has learned nothing: of classes, of sets of labels and of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Baseline:
    """The score of a model that has learned nothing.

    Args:
        value: Its headline metric.
        margin: How much better a model must be: the metric's sampling error on so few examples.
        words: What the value is, such as ``the share of the most frequent class``.
    """

    value: float
    margin: float
    words: str


def baseline_of_classes(targets: npt.NDArray[Any]) -> Baseline:
    """Computes the share of the most frequent class, with a margin of two standard errors of the accuracy.

    Args:
        targets: Classes, shape (n,).
    """
    share = float(np.bincount(targets).max() / len(targets))
    margin = 2 * math.sqrt(share * (1 - share) / max(1, len(targets)))
    return Baseline(share, margin, "the share of the most frequent class")


def baseline_of_sets(
    targets: npt.NDArray[Any], score: Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]]
) -> Baseline:
    """Computes the best score of giving all texts the same most frequent labels, with two standard errors.

    Args:
        targets: 1 where an example has the label, else 0, shape (n, labels).
        score: Scores answers, probabilities of shape (n, labels), against targets of that shape; returns shape (n,).
    """
    order = np.argsort(-targets.sum(axis=0, dtype=np.int64), kind="stable")
    best = np.zeros(len(targets))
    for count in range(len(order) + 1):
        answers = np.zeros(targets.shape)
        answers[:, order[:count]] = 1.0
        scores = score(answers, targets)
        best = scores if count == 0 or scores.mean() > best.mean() else best
    margin = 2 * float(best.std()) / max(1, len(targets)) ** 0.5
    return Baseline(float(best.mean()), margin, "that of the same labels for every text")


def baseline_of_numbers(targets: npt.NDArray[Any]) -> Baseline:
    """Computes the error of answering the median, with two standard errors.

    Args:
        targets: The numbers, shape (n,) or (n, numbers).
    """
    flat = targets.reshape(len(targets), -1).astype(np.float64)
    errors = np.abs(flat - np.median(flat, axis=0)).mean(axis=1)
    margin = 2 * float(errors.std()) / len(errors) ** 0.5
    return Baseline(float(errors.mean()), margin, "that of answering the median")
