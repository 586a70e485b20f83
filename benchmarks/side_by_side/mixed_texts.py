"""Texts of mixed lengths, as they come in: many short ones, a few long ones."""

from __future__ import annotations

import random

from peft_lightning.data.embedded.composer import Composer

# Words of a text: the median and the spread of its logarithm. A tenth are longer than 70 words.
_MEDIAN, _SPREAD = 20, 1.0
_SHORTEST, _LONGEST = 2, 220
_LENDING = 500


def mixed_texts(count: int) -> list[str]:
    """Returns texts, the same in every call.

    Args:
        count: Number of texts.
    """
    composer = Composer("train")
    reviews = [composer.review(row, label).split() for row, label in enumerate(composer.labels(_LENDING))]
    dice = random.Random(1)
    texts = []
    for _ in range(count):
        length = round(min(_LONGEST, max(_SHORTEST, _MEDIAN * dice.lognormvariate(0, _SPREAD))))
        words: list[str] = []
        while len(words) < length:
            words += dice.choice(reviews)
        texts.append(" ".join(words[:length]))
    return texts
