"""Texts that occur more than once: in training and in an evaluation, or twice in training."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Repeats within training weigh some texts more, which a few do not make felt: 0.4 % of IMDb's are repeats.
_NOTABLE = 0.01


@dataclass(frozen=True)
class Duplicates:
    """Numbers of rows whose text another row has too.

    Args:
        train_repeats: Training rows whose text an earlier training row has.
        val_in_train: Validation rows whose text a training row has.
        test_in_train: Test rows whose text a training row has.
    """

    train_repeats: int
    val_in_train: int
    test_in_train: int


def count_duplicates(train: Iterable[Hashable], val: Iterable[Hashable], test: Iterable[Hashable]) -> Duplicates:
    """Counts texts that occur more than once; pairs of texts are equal if both sides are.

    Args:
        train: The texts to train on.
        val: The texts to validate on.
        test: The texts to test on.
    """
    training, validation, testing = map(_hashes, (train, val, test))
    return Duplicates(
        train_repeats=len(training) - len(np.unique(training)),
        val_in_train=int(np.isin(validation, training).sum()),
        test_in_train=int(np.isin(testing, training).sum()),
    )


def duplicates_in_words(figures: Mapping[str, Any], noun: str) -> str | None:
    """Says what of a run's data occurs more than once, and what to do; None if nothing does that matters.

    Args:
        figures: The data module's description.
        noun: What a row is called, ``text`` or ``pair``.
    """
    removed = figures["removed_from_train"]
    if removed:
        return f"data: {removed:,} duplicates were left out of the training split, as data.deduplicate asks"
    found = [
        f"{figures[count]:,} of {figures[of]:,} {use} {noun}s ({figures[count] / figures[of]:.1%})"
        for count, of, use in (("test_in_train", "n_test", "test"), ("val_in_train", "n_val", "validation"))
        if figures[count]
    ]
    words = [f"also in training: {' and '.join(found)}"] if found else []
    repeats, n_train = figures["train_repeats"], figures["n_train"]
    if repeats >= _NOTABLE * n_train:
        words.append(f"repeated in training: {repeats:,} of {n_train:,} {noun}s ({repeats / n_train:.1%})")
    return f"data: {'; '.join(words)}; --data.deduplicate true leaves them out of training" if words else None


def without_duplicates(texts: Sequence[Hashable], elsewhere: Sequence[Sequence[Hashable]]) -> NDArray[np.int64]:
    """Finds the first row of each text that does not occur elsewhere.

    Args:
        texts: The n texts.
        elsewhere: Texts of other splits.

    Returns:
        The rows, ascending.
    """
    own = _hashes(texts)
    first = np.zeros(len(own), dtype=bool)
    first[np.unique(own, return_index=True)[1]] = True
    for others in elsewhere:
        first &= ~np.isin(own, _hashes(others))
    return np.flatnonzero(first)


def _hashes(texts: Iterable[Hashable]) -> NDArray[np.int64]:
    # Python's own hash has 64 bits and takes 0.1 µs: that two of a million texts share one by chance has a
    # probability of 3e-8. It differs between processes; which texts are equal does not.
    return np.fromiter(map(hash, texts), dtype=np.int64)
