"""Finds the reviews on which recipes differ most where answers are not just right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.report.disagreements import most_disputed
from peft_lightning.runs.predictions import Answers


@dataclass(frozen=True)
class GradedReview:
    """A review on which recipes differ.

    Args:
        id: Its row in the test split of its source.
        label: Its target.
        scores: Mean score over the seeds, by the recipe's label.
        answers: Answer of each seed, by the recipe's label.
    """

    id: int
    label: Any
    scores: dict[str, float]
    answers: dict[str, list[Any]]


@dataclass(frozen=True)
class GradedDisagreements:
    """How the recipes' scores differ.

    Args:
        reviews: Number of test reviews.
        middle: Difference between the best and the worst recipe's mean score, on the middle one of the reviews.
        large: The same on one review in twenty, or more.
        clear: Number of reviews on which one recipe was better with every seed than another with any.
        shown: Of those the ones with the largest gap between such seeds, at most 20.
    """

    reviews: int
    middle: float
    large: float
    clear: int
    shown: tuple[GradedReview, ...]


def find_graded_disagreements(answers: Mapping[str, Sequence[Answers]]) -> GradedDisagreements | None:
    """Finds where recipes differ.

    Args:
        answers: Answers to the same reviews, one entry for each seed, by the recipe's label.

    Returns:
        The differences; None with fewer than two recipes.
    """
    if len(answers) < 2:
        return None
    scores = {label: np.stack([seed.scores for seed in seeds]).astype(np.float64) for label, seeds in answers.items()}
    means = {label: values.mean(axis=0) for label, values in scores.items()}
    every = np.stack(list(means.values()))
    width = every.max(axis=0) - every.min(axis=0)
    gap = surest_gap(list(scores.values()))
    first = next(iter(answers.values()))[0]
    shown = tuple(
        GradedReview(
            int(first.ids[row]),
            first.labels[row].tolist(),
            {label: float(values[row]) for label, values in means.items()},
            {label: [seed.answers[row].tolist() for seed in seeds] for label, seeds in answers.items()},
        )
        # Otherwise the seeds of one recipe differ as much.
        for row in most_disputed(gap, width, gap > 0)
    )
    return GradedDisagreements(
        reviews=len(gap),
        middle=float(np.median(width)),
        large=float(np.quantile(width, 0.95)),
        clear=int((gap > 0).sum()),
        shown=shown,
    )


def surest_gap(scores: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Returns by how much the worst seed of one recipe is better than the best seed of another, at the most.

    Args:
        scores: Scores of each of two or more recipes, shape (seeds, n).

    Returns:
        The gap on each review, shape (n,); not above 0 where the seeds of all recipes overlap.
    """
    lowest, highest = (np.stack([end(values, axis=0) for values in scores]) for end in (np.min, np.max))
    gap: npt.NDArray[np.float64] = lowest.max(axis=0) - highest.min(axis=0)
    return gap
