"""What a source gives: texts with labels, as found and then with the labels as targets of a task."""

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
    """Texts and labels as their file spells them.

    Args:
        name: what an error message calls the split, such as its path.
        texts: the texts.
        labels: the labels: whole numbers, words or truth values.
        label_names: names of the labels 0, 1, …, where the source carries them.
    """

    name: str
    texts: Sequence[str]
    labels: list[object]
    label_names: list[str] | None = None


@dataclass(frozen=True)
class Split:
    """Texts and targets.

    Args:
        texts: the texts.
        labels: target of each text, such as the number of its class, shape (n, …).
        rows: row of each text in the split it comes from, int64, shape (n,).
    """

    texts: Sequence[str]
    labels: NDArray[Any]
    rows: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> "Split":
        """The texts at some positions.

        Args:
            positions: positions in this split, shape (k,).
        """
        return Split([self.texts[i] for i in positions], self.labels[positions], self.rows[positions])


@dataclass(frozen=True)
class Corpus:
    """The training split, the test split, and what their labels are for."""

    train: Split
    test: Split
    task: Task


def fingerprint(label_names: Sequence[str], splits: Iterable[Split]) -> str:
    """Tell these texts and labels from any others.

    Args:
        label_names: what the labels are called.
        splits: the texts and their targets.

    Returns:
        A SHA-256, in hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(list(label_names)).encode())
    for split in splits:
        digest.update(json.dumps([list(split.texts), split.labels.tolist()]).encode())
    return digest.hexdigest()


def numbered_rows(name: str) -> Callable[[int], str]:
    """How a table's rows are named in error messages: from 1, the header not counted.

    Args:
        name: the file.
    """
    return lambda position: f"row {position + 1} of {name}"


def checked_texts(texts: Sequence[object], row_name: Callable[[int], str]) -> list[str]:
    """Texts that are text and not blank.

    Args:
        texts: what was read.
        row_name: names a row by its position, from 0.

    Returns:
        The same, known to be strings.

    Raises:
        UserError: a text is missing, blank or no text.
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
    """A split in which every row has a text and a label.

    Args:
        name: what an error message calls the split.
        texts: what was read as texts.
        labels: what was read as labels.
        row_name: names a row by its position, from 0.
        label_names: names of the labels 0, 1, …, where the source carries them.

    Raises:
        UserError: a text or a label is missing, or there are no rows.
    """
    row_name = row_name or numbered_rows(name)
    if not texts:
        raise UserError(f"{name} has no rows: give it labelled texts or name another source")
    checked = checked_texts(texts, row_name)
    for position, label in enumerate(labels):
        if label is None or label != label or (isinstance(label, str) and not label.strip()):
            raise UserError(f"{row_name(position)} has no label: remove the row or give it one")
    return RawSplit(name, checked, list(labels), label_names)
