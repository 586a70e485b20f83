"""The splits of the embedded corpus: balanced, without duplicates, the same on every machine and Python version."""

from __future__ import annotations

from typing import Literal, get_args

from peft_lightning.data.embedded.composed_texts import ComposedTexts
from peft_lightning.data.embedded.composer import Composer
from peft_lightning.errors import UserError

Split = Literal["train", "test"]

CLASS_NAMES = ("negative", "positive")
# Validation rows come from the training split: 20,000 reviews to train on leave 4,000 to validate on.
REVIEWS: dict[Split, int] = {"train": 24_000, "test": 20_000}


class EmbeddedReviews(ComposedTexts):
    """The reviews of a split, each composed on access: a run that needs 48 does not wait for all.

    Args:
        split: ``train`` or ``test``; they share no clause.
        n: Number of reviews, at most that in ``REVIEWS``; None for all. A smaller number gives the first reviews of a
            larger one.

    Raises:
        UserError: If the split is unknown, or has fewer reviews.
    """

    def __init__(self, split: Split, n: int | None = None) -> None:
        if split not in get_args(Split):
            raise UserError(f"the embedded corpus has no split {split!r}: choose train or test")
        n = REVIEWS[split] if n is None else n
        if not 0 < n <= REVIEWS[split]:
            raise UserError(f"the {split} split of the embedded corpus has 1 to {REVIEWS[split]} reviews, not {n}")
        self._composer = Composer(split)
        self.labels = self._composer.labels(n)
        """0 negative, 1 positive. Each pair holds both, in random order, so every even ``n`` is balanced."""

    def __len__(self) -> int:
        return len(self.labels)

    def composed(self, row: int) -> str:
        """Composes a review of its label's opinion."""
        return self._composer.review(row, self.labels[row])


def load_split(split: Split, n: int | None = None) -> tuple[list[str], list[int]]:
    """Composes the first ``n`` reviews of a split.

    Args:
        split: ``train`` or ``test``.
        n: Number of reviews, at most that in ``REVIEWS``; None for all.

    Returns:
        The reviews, and their labels: 0 negative, 1 positive.

    Raises:
        UserError: If the split is unknown, or has fewer reviews.
    """
    reviews = EmbeddedReviews(split, n)
    return list(reviews), reviews.labels
