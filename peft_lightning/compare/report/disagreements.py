"""Reviews on which the recipes disagree, most of all first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from peft_lightning.runs.predictions import Answers

SHOWN = 20


@dataclass(frozen=True)
class DisputedReview:
    """One review.

    Args:
        id: Its row in the test split of its source.
        label: Its target.
        right: How many seeds of each recipe were right, by label.
    """

    id: int
    label: Any
    right: dict[str, int]


@dataclass(frozen=True)
class Disagreements:
    """How the recipes' answers differ.

    Args:
        reviews: Number of test reviews.
        all_right: Those that every run got right.
        all_wrong: Those that every run got wrong.
        clear: Those that one recipe got right and another wrong with every seed.
        shown: The reviews most disputed.
    """

    reviews: int
    all_right: int
    all_wrong: int
    clear: int
    shown: tuple[DisputedReview, ...]


def find_disagreements(answers: Mapping[str, Sequence[Answers]]) -> Disagreements | None:
    """Finds where recipes disagree.

    Args:
        answers: To the same reviews, one entry a seed, by recipe.

    Returns:
        The disagreements; None with fewer than two recipes, and where answers are not right or wrong.
    """
    if len(answers) < 2 or not all(one.right_or_wrong for some in answers.values() for one in some):
        return None
    right = {label: np.stack([one.scores for one in some]).sum(axis=0) for label, some in answers.items()}
    shares = np.stack([right[label] / len(some) for label, some in answers.items()])
    width = shares.max(axis=0) - shares.min(axis=0)
    # Of reviews that are disputed alike, those that divide the recipes most evenly.
    divided = shares.var(axis=0)
    order = np.lexsort((np.arange(len(width)), -divided.round(9), -width.round(9)))
    first = next(iter(answers.values()))[0]
    shown = tuple(
        DisputedReview(
            int(first.ids[row]), first.labels[row].item(), {label: int(n[row]) for label, n in right.items()}
        )
        for row in order[:SHOWN]
        # Seeds of one recipe that disagree among themselves are no disagreement of recipes.
        if width[row] > 0.5
    )
    return Disagreements(
        reviews=len(width),
        all_right=int((shares == 1).all(axis=0).sum()),
        all_wrong=int((shares == 0).all(axis=0).sum()),
        clear=int((width == 1).sum()),
        shown=shown,
    )
