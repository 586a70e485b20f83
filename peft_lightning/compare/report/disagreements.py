"""Finds the reviews on which the recipes disagree most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.runs.predictions import Answers

SHOWN = 20


@dataclass(frozen=True)
class DisputedReview:
    """A review on which recipes disagree.

    Args:
        id: Its row in the test split of its source.
        label: Its target.
        right: Number of seeds of each recipe that were right, by the recipe's label.
    """

    id: int
    label: Any
    right: dict[str, int]


@dataclass(frozen=True)
class Disagreements:
    """How the recipes' answers differ.

    Args:
        reviews: Number of test reviews.
        all_right: Number of reviews that every run got right.
        all_wrong: Number of reviews that every run got wrong.
        clear: Number of reviews that one recipe got right, and another wrong, with every seed.
        shown: The reviews on which recipes disagree most, at most 20.
    """

    reviews: int
    all_right: int
    all_wrong: int
    clear: int
    shown: tuple[DisputedReview, ...]


def find_disagreements(answers: Mapping[str, Sequence[Answers]]) -> Disagreements | None:
    """Finds where recipes disagree.

    Args:
        answers: Answers to the same reviews, one entry for each seed, by the recipe's label.

    Returns:
        The disagreements; None with fewer than two recipes, or if answers are not right or wrong.
    """
    if len(answers) < 2 or not all(seed.right_or_wrong for seeds in answers.values() for seed in seeds):
        return None
    right = {label: np.stack([seed.scores for seed in seeds]).sum(axis=0) for label, seeds in answers.items()}
    shares = np.stack([right[label] / len(seeds) for label, seeds in answers.items()])
    width = shares.max(axis=0) - shares.min(axis=0)
    # Among reviews of the same width, those that divide the recipes most evenly come first.
    divided = shares.var(axis=0)
    first = next(iter(answers.values()))[0]
    shown = tuple(
        DisputedReview(
            int(first.ids[row]), first.labels[row].tolist(), {label: int(n[row]) for label, n in right.items()}
        )
        # A width of half the seeds or less may be a disagreement among one recipe's seeds.
        for row in most_disputed(width, divided, width > 0.5)
    )
    return Disagreements(
        reviews=len(width),
        all_right=int((shares == 1).all(axis=0).sum()),
        all_wrong=int((shares == 0).all(axis=0).sum()),
        clear=int((width == 1).sum()),
        shown=shown,
    )


def most_disputed(
    gap: npt.NDArray[np.float64], then: npt.NDArray[np.float64], disputed: npt.NDArray[np.bool_]
) -> list[int]:
    """Returns the places of the reviews to show, the most disputed first, at most 20.

    Args:
        gap: How far the recipes are apart on each review, shape (n,).
        then: What decides between reviews of the same gap, shape (n,).
        disputed: Whether the recipes differ on a review at all, shape (n,).
    """
    order = np.lexsort((np.arange(len(gap)), -then.round(9), -gap.round(9)))
    return [row for row in order[:SHOWN].tolist() if disputed[row]]
