"""Labelled texts of a source: splits with raw labels, splits with targets, and their fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.sources.text_pairs import TextPairs, Texts, take_texts
from peft_lightning.task import Task

# Texts and labels are hashed so many at a time: a million rows as one JSON text took 0.6 GiB.
_HASHED_AT_ONCE = 1024


@dataclass(frozen=True)
class RawSplit:
    """Texts, and labels as the source spells them.

    Args:
        name: Name of the split in error messages, such as its path.
        texts: The texts, or pairs of texts.
        labels: The labels: numbers, words or truth values, lists of these, or tuples with a value of each label column.
        label_names: Names of the labels 0, 1, …, if the source has them.
        columns: Names of the label columns if there are several.
    """

    name: str
    texts: Texts
    labels: list[object]
    label_names: list[str] | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Texts and targets.

    Args:
        texts: The texts, or pairs of texts.
        labels: Target of each text, such as the number of its class, shape (n, …).
        rows: Row of each text in the split that it comes from, int64, shape (n,).
    """

    texts: Texts
    labels: NDArray[Any]
    rows: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> "Split":
        """Selects the texts at some positions.

        Args:
            positions: Positions in this split, shape (k,).
        """
        texts = self.texts
        chosen = texts.take(positions) if isinstance(texts, TextPairs) else take_texts(texts, positions)
        return Split(chosen, self.labels[positions], self.rows[positions])


@dataclass(frozen=True)
class Origin:
    """Where the rows of a corpus come from.

    Args:
        val_split: Name of the source's validation split; None if validation rows are drawn from the training split.
        test_split: Name of the source's test split; None if test rows were held out from the training split.
        notes: What a user would not expect of the choice of splits.
        removed: Number of training rows that were left out as duplicates.
    """

    val_split: str | None = None
    test_split: str | None = None
    notes: tuple[str, ...] = ()
    removed: int = 0


@dataclass(frozen=True)
class Corpus:
    """The training split, the test split, and their task; the validation split if the source has its own."""

    train: Split
    test: Split
    task: Task
    val: Split | None = None
    origin: Origin = Origin()


def fingerprint(label_names: Sequence[str], splits: Iterable[Split]) -> str:
    """Hashes texts and labels.

    Args:
        label_names: Names of the labels.
        splits: The texts and their targets.

    Returns:
        A SHA-256, in hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(list(label_names)).encode())
    for split in splits:
        # The bytes of json.dumps([list(texts), labels]), which records of all versions hold the hash of.
        digest.update(b"[")
        for part in _json_list(split.texts):
            digest.update(part)
        digest.update(b", ")
        for part in _json_list(split.labels):
            digest.update(part)
        digest.update(b"]")
    return digest.hexdigest()


def _json_list(values: Texts | NDArray[Any]) -> Iterator[bytes]:
    """Writes what ``json.dumps`` writes of a list, piece by piece."""
    yield b"["
    for start in range(0, len(values), _HASHED_AT_ONCE):
        if start:
            yield b", "
        some = values[start : start + _HASHED_AT_ONCE]
        yield json.dumps(some.tolist() if isinstance(some, np.ndarray) else some)[1:-1].encode()
    yield b"]"
