"""How sure answers are, and how right: bins of confidence, and the score of the surest answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.runs.predictions import Answers
from peft_lightning.task.class_figures import BINS, calibration_error

Floats = npt.NDArray[np.float64]
# Shares of the texts that are answered, from which curves are drawn: of fewer, single texts move the mean.
SHARES = np.arange(10, 101, 2) / 100


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy of a recipe's decisions, with those of all seeds together.

    Args:
        confidence: Mean probability of the decisions in each of 15 bins of equal width, NaN without any.
        accuracy: Share of them that is right, NaN without any.
        counts: Number of them.
        error: The expected calibration error, in the mean of the seeds.
    """

    confidence: Floats
    accuracy: Floats
    counts: npt.NDArray[np.int64]
    error: float

    @property
    def mean_confidence(self) -> float:
        """The mean probability of all decisions."""
        return float(np.nansum(self.confidence * self.counts) / self.counts.sum())

    @property
    def mean_accuracy(self) -> float:
        """The share of all decisions that is right."""
        return float(np.nansum(self.accuracy * self.counts) / self.counts.sum())


def reliability(seeds: Sequence[Answers]) -> Reliability | None:
    """Computes the confidence and the accuracy of a recipe's decisions; None if they have no probabilities.

    Args:
        seeds: The recipe's answers, one entry for each seed.
    """
    found = [seed.task.confidences(seed.answers, seed.labels) for seed in seeds]
    # A file that is not ours may hold any number.
    decided = [(confidence.astype(np.float64).clip(0, 1), right) for confidence, right in filter(None, found)]
    if not decided:
        return None
    confidence, right = (np.concatenate(columns) for columns in zip(*decided, strict=True))
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    with np.errstate(invalid="ignore"):
        expected = np.bincount(places, weights=confidence, minlength=BINS) / counts
        found_right = np.bincount(places, weights=right, minlength=BINS) / counts
    return Reliability(
        confidence=expected,
        accuracy=found_right,
        counts=counts,
        error=float(np.mean([calibration_error(*each) for each in decided])),
    )


def coverage(seeds: Sequence[Answers], shares: Sequence[float] | Floats = SHARES) -> Floats | None:
    """Computes the mean score of the surest answers, in the mean of the seeds; None if none is surer than another.

    Args:
        seeds: The recipe's answers, one entry for each seed.
        shares: Shares of the texts that are answered, in (0, 1].

    Returns:
        Mean scores, shape (shares,); that of all answers at the share 1.
    """
    curves = []
    for seed in seeds:
        certainty = seed.task.certainty(seed.answers)
        if certainty is None:
            return None
        counts = np.maximum(np.ceil(np.asarray(shares) * len(certainty) - 1e-9).astype(np.int64), 1)
        curves.append(_surest_first(certainty, seed.scores)[counts - 1])
    mean: Floats = np.mean(curves, axis=0)
    return mean


def _surest_first(certainty: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Floats:
    """Returns the mean score of the surest 1, 2, … answers; equally sure ones count with their mean."""
    _, groups = np.unique(-certainty, return_inverse=True)
    means = np.bincount(groups, weights=scores) / np.bincount(groups)
    ordered = means[np.sort(groups)]
    curve: Floats = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return curve
