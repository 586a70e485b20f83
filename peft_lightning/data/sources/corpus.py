"""Labelled texts of a source: splits with raw labels, splits with targets, and the checks between them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peft_lightning.errors import Setting, UserError
from peft_lightning.task import Task


@dataclass(frozen=True)
class RawSplit:
    """Texts, and labels as the source spells them.

    Args:
        name: Name of the split in error messages, such as its path.
        texts: The texts.
        labels: The labels: whole numbers, words or truth values.
        label_names: Names of the labels 0, 1, …, if the source has them.
    """

    name: str
    texts: Sequence[str]
    labels: list[object]
    label_names: list[str] | None = None


@dataclass(frozen=True)
class Split:
    """Texts and targets.

    Args:
        texts: The texts.
        labels: Target of each text, such as the number of its class, shape (n, …).
        rows: Row of each text in the split that it comes from, int64, shape (n,).
    """

    texts: Sequence[str]
    labels: NDArray[Any]
    rows: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> "Split":
        """Selects the texts at some positions.

        Args:
            positions: Positions in this split, shape (k,).
        """
        return Split([self.texts[i] for i in positions], self.labels[positions], self.rows[positions])


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
        digest.update(json.dumps([list(split.texts), split.labels.tolist()]).encode())
    return digest.hexdigest()


def numbered_rows(name: str) -> Callable[[int], str]:
    """Returns what names a table's rows in error messages: from 1, without the header.

    Args:
        name: The file.
    """
    return lambda position: f"row {position + 1} of {name}"


def checked_texts(texts: Sequence[object], row_name: Callable[[int], str]) -> list[str]:
    """Checks that all texts are strings and not blank.

    Args:
        texts: The values that were read.
        row_name: Returns the name of a row from its position, from 0.

    Returns:
        The same values, as strings.

    Raises:
        UserError: If a text is missing, blank or not a string.
    """
    checked: list[str] = []
    for position, text in enumerate(texts):
        if text is None or text != text:
            raise UserError(f"{row_name(position)} has no text: remove the row or give it one")
        if not isinstance(text, str):
            raise UserError(
                f"the text in {row_name(position)} is a {type(text).__name__}, not text: is ",
                Setting("data.text_column"),
                " right?",
            )
        if not text.strip():
            raise UserError(f"the text in {row_name(position)} is blank: remove the row or give it one")
        checked.append(text)
    return checked


def checked_split(
    name: str,
    texts: Sequence[object],
    labels: Sequence[object],
    row_name: Callable[[int], str] | None = None,
    label_names: list[str] | None = None,
) -> RawSplit:
    """Makes a split, and checks that every row has a text and a label.

    Args:
        name: Name of the split in error messages.
        texts: The values that were read as texts.
        labels: The values that were read as labels.
        row_name: Returns the name of a row from its position, from 0.
        label_names: Names of the labels 0, 1, …, if the source has them.

    Raises:
        UserError: If a text or a label is missing, or there are no rows.
    """
    row_name = row_name or numbered_rows(name)
    if not texts:
        raise UserError(f"{name} has no rows: give it labelled texts or name another source")
    checked = checked_texts(texts, row_name)
    for position, label in enumerate(labels):
        if label is None or label != label or (isinstance(label, str) and not label.strip()):
            raise UserError(f"{row_name(position)} has no label: remove the row or give it one")
    return RawSplit(name, checked, list(labels), label_names)
