"""Reads the labels of texts that may have several: their names, and which rows have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.class_labels import MOST_UNASKED
from peft_lightning.task.label_values import is_fraction, unknown_label
from peft_lightning.task.labelled_rows import LabelledRows
from peft_lightning.task.set_spellings import spelling_of

Flags = npt.NDArray[np.int8]
_COLUMN = Setting("data.label_column")
_SINGLE = Setting("model.problem_type", "single_label_classification")


@dataclass(frozen=True)
class LabelSets:
    """Labels of texts that may have several.

    Args:
        names: The names of the labels.
        train: 1 where a training row has the label, else 0, shape (n, labels).
        test: The same of the test rows; None if there are none.
        spelling: How the labels are spelled, in words.
    """

    names: tuple[str, ...]
    train: Flags
    test: Flags | None
    spelling: str


def spells_sets(rows: LabelledRows) -> bool:
    """Tells whether a source's labels are lists, delimited words or several columns of 0 and 1.

    Args:
        rows: The training rows.
    """
    return spelling_of(rows) is not None


def label_sets(train: LabelledRows, test: LabelledRows | None, asked: bool = False) -> LabelSets:
    """Reads the labels of each row.

    Args:
        train: The training rows, which decide what labels there are.
        test: The test rows, if there are any.
        asked: Whether a word without a separator is a label too, and a comma separates.

    Raises:
        UserError: If a row's labels cannot be read, no label tells rows apart, or the test rows have a label that
            training lacks.
    """
    spelling = spelling_of(train, asked)
    if spelling is None:
        raise _no_sets(train)
    found = [spelling.read(train, row) for row in range(len(train.labels))]
    present = {label for labels in found for label in labels}
    if spelling.names is not None:
        names = spelling.names
    elif train.label_names is not None:
        names = tuple(name for name in train.label_names if name in present)
    else:
        names = tuple(sorted(present, key=_in_order(present)))
    if len(names) > MOST_UNASKED and 2 * len(names) > len(found):
        raise UserError(
            f"{train.name} has {len(names):,} different labels in {len(found):,} rows: is ", _COLUMN, " right?"
        )
    targets = _flags(found, names)
    if not names or not (targets != targets[0]).any():
        raise UserError(
            f"all rows of {train.name} have the same labels ({', '.join(found[0]) or 'none'}): nothing tells them"
            " apart; is ",
            _COLUMN,
            " right?",
        )
    if test is None:
        return LabelSets(names, targets, None, spelling.words)
    if bool(test.columns) != bool(train.columns):
        raise UserError(f"{test.name} has other label columns than {train.name}: write both with the same columns")
    its = [spelling.read(test, row) for row in range(len(test.labels))]
    known = set(names)
    for row, labels in enumerate(its):
        unknown = next((label for label in labels if label not in known), None)
        if unknown is not None:
            raise unknown_label(test.name, row, unknown, names)
    return LabelSets(names, targets, _flags(its, names), spelling.words)


def _flags(found: Sequence[Sequence[str]], names: Sequence[str]) -> Flags:
    place = {name: number for number, name in enumerate(names)}
    flags = np.zeros((len(found), len(names)), dtype=np.int8)
    for row, labels in enumerate(found):
        for label in labels:
            flags[row, place[label]] = 1
    return flags


def _in_order(present: set[str]) -> Callable[[str], int] | None:
    return int if all(name.removeprefix("-").isdecimal() for name in present) else None


def _no_sets(rows: LabelledRows) -> UserError:
    if any(map(is_fraction, rows.labels)):
        return UserError(
            f"the labels of {rows.name} are decimals, not labels: leave out ", Setting("model.problem_type")
        )
    return UserError(f"{rows.name} has no lists of labels: is ", _COLUMN, " right? For one label a row, ", _SINGLE)
