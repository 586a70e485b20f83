"""What the record keeps of a run's data, and the line that says it to the user."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.sources import Corpus
from peft_lightning.data.subsets import Subsets
from peft_lightning.data.text_windows import TextWindows


def describe(
    source: str,
    corpus: Corpus,
    subsets: Subsets,
    max_length: int,
    windows: TextWindows | None,
    support: NDArray[np.int64] | None,
) -> dict[str, Any]:
    """Describes the data of a run for its record.

    Args:
        source: The source as the settings name it.
        corpus: What was read of it.
        subsets: What was drawn.
        max_length: Tokens that a text is cut to.
        windows: What cuts longer texts into windows; None where they are cut to one length.
        support: Number of training texts with each class or label; None if labels are numbers.
    """
    return {
        "source": source,
        "fingerprint": subsets.fingerprint,
        "n_train": len(subsets.train),
        "n_val": len(subsets.val),
        "n_test": len(subsets.test),
        "max_length": max_length,
        "truncated_share": subsets.truncated_share,
        "windows": None if windows is None else subsets.windows(windows),
        "val_split": corpus.origin.val_split,
        "test_split": corpus.origin.test_split,
        **asdict(subsets.duplicates),
        "removed_from_train": corpus.origin.removed,
        "train_labels": None if support is None else support.tolist(),
    }


def in_words(description: Mapping[str, Any], labels: str, noun: str) -> str:
    """Says in a line what a run trains, validates and tests on.

    Args:
        description: What ``describe`` returned.
        labels: What the task calls its labels, such as ``2 classes``.
        noun: What a row is called, ``text`` or ``pair``.
    """
    answered = description["n_val"] + description["n_test"]
    return (
        "data: {source}, {labels}, {n_train:,} {noun}s to train on, {n_val:,} to validate, {n_test:,} to"
        " test; {truncated_share:.1%} are longer than {max_length} tokens and "
        + (
            "cut"
            if description["windows"] is None
            else "cut to train on; to validate and test, {answered:,} are read in {windows:,} windows"
        )
    ).format(labels=labels, noun=noun, answered=answered, **description)
