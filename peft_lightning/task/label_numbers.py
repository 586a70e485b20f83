"""Reads labels that are numbers: one for each text, or several in a list or in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.task.label_values import are_flags, is_fraction, number_in, plain
from peft_lightning.task.labelled_rows import LabelledRows

_CLASSES: tuple[Part, ...] = (
    ": mend the row, or take all labels as classes with ",
    Setting("model.problem_type", "single_label_classification"),
)
_MEND: tuple[Part, ...] = (": mend the row",)
Numbers = npt.NDArray[np.float32]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LabelNumbers:
    """Numbers of texts.

    Args:
        names: Names of the numbers if there are several; empty for one.
        train: The numbers of the training rows, shape (n,) or (n, numbers).
        test: Those of the test rows; None if there are none.
        spelling: How the labels are spelled, in words.
    """

    names: tuple[str, ...]
    train: Numbers
    test: Numbers | None
    spelling: str


def spells_numbers(rows: LabelledRows) -> bool:
    """Tells whether a source's labels are decimals, lists with decimals, or several columns of numbers.

    Whole numbers are classes, unless all label columns hold some beyond 0 and 1: nothing tells a rating of 1 to 5 from
    five classes, and runs that took it for classes should still do so.

    Args:
        rows: The training rows.
    """
    labels = rows.labels
    if rows.columns:
        return not are_flags(labels) and all(number_in(value) is not None for row in labels for value in _values(row))
    if rows.label_names is not None or set(map(type, labels)) <= {int, bool}:
        return False
    if any(isinstance(label, list | tuple) for label in labels):
        values = [value for label in labels for value in _values(label)]
        return any(map(is_fraction, values)) and not any(isinstance(value, str | bool) for value in values)
    counts = Counter(label for label in labels if isinstance(label, str | float | int))
    numbers = sum(count for label, count in counts.items() if number_in(label) is not None)
    return 2 * numbers > len(labels) and any(map(is_fraction, counts))


def label_numbers(train: LabelledRows, test: LabelledRows | None, asked: bool = False) -> LabelNumbers:
    """Reads the numbers of each row.

    Args:
        train: The training rows.
        test: The test rows, if there are any.
        asked: Whether the user has said that labels are numbers.

    Raises:
        UserError: If a row has no number, or another count of numbers than the others, or all have the same.
    """
    width = _width(train)
    mend = _MEND if asked or width is not None else _CLASSES
    numbers = _read(train, width, mend)
    flat = numbers.reshape(len(numbers), -1)
    constant = np.flatnonzero((flat == flat[0]).all(axis=0))
    names = tuple(train.columns) if train.columns else tuple(f"value_{place}" for place in range(width or 0))
    if width == 1:
        names, numbers = (), numbers[:, 0]
    if len(constant):
        which = f" {names[constant[0]]!r}" if names else ""
        raise UserError(
            f"the label{which} is {flat[0, constant[0]]:g} in all rows of {train.name}: there is nothing to learn; is ",
            Setting("data.label_column"),
            " right?",
        )
    spelling = "columns of numbers" if train.columns else "lists of numbers" if width is not None else "decimals"
    tested = None if test is None else _read(test, width, mend)
    if tested is not None and width == 1:
        tested = tested[:, 0]
    return LabelNumbers(names, numbers, tested, spelling)


def _width(rows: LabelledRows) -> int | None:
    """Returns how many numbers the first row has; None for labels that are one each."""
    if rows.columns:
        return len(rows.columns)
    return next((len(label) for label in rows.labels if isinstance(label, list | tuple)), None)


def _read(rows: LabelledRows, width: int | None, mend: Sequence[Part]) -> Numbers:
    if width is None:
        return np.array([_number(rows, row, label, mend) for row, label in enumerate(rows.labels)], dtype=np.float32)
    numbers = np.empty((len(rows.labels), width), dtype=np.float32)
    for row, label in enumerate(rows.labels):
        if not isinstance(label, list | tuple):
            raise UserError(
                f"row {row + 1} of {rows.name} has the label {plain(label)}, and other rows have lists of {width}"
                " numbers: mend the row"
            )
        if len(label) != width:
            raise UserError(
                f"row {row + 1} of {rows.name} has {len(label)} number{'' if len(label) == 1 else 's'} and the others"
                f" {width}: mend the row"
            )
        numbers[row] = [_number(rows, row, value, mend) for value in label]
    return numbers


def _number(rows: LabelledRows, row: int, value: object, mend: Sequence[Part]) -> float:
    number = float(value) if isinstance(value, bool) else number_in(value)
    # Targets are held in 32 bits, in which a larger one would be infinite.
    if number is None or abs(number) > _LARGEST:
        raise UserError(f"row {row + 1} of {rows.name} has the label {plain(value)}, which is no number", *mend)
    return number


def _values(label: object) -> Sequence[object]:
    return label if isinstance(label, list | tuple) else [label]
