"""Reads the labels of texts that may have several: lists, delimited words, or columns of 0 and 1."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.base import LabelledRows
from peft_lightning.task.class_labels import MOST_UNASKED
from peft_lightning.task.label_values import are_flags, flag_in, is_fraction, plain

# What separates labels in one word; a comma may be part of a class's name, so it separates only where asked.
_SEPARATORS = (";", "|")
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


@dataclass(frozen=True)
class _Spelling:
    """How a source spells the labels of a row.

    Args:
        words: The spelling in words.
        read: Returns the labels of row number i; a number where labels are places in a row of 0 and 1.
        names: Names of the labels that are known beforehand: those of columns, or of places.
    """

    words: str
    read: Callable[[LabelledRows, int], list[str]]
    names: tuple[str, ...] | None = None


def spells_sets(rows: LabelledRows) -> bool:
    """Tells whether a source's labels are lists, delimited words or several columns of 0 and 1.

    Args:
        rows: The training rows.
    """
    return _spelling(rows) is not None


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
    spelling = _spelling(train, asked)
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
            raise UserError(
                f"row {row + 1} of {test.name} has the label {unknown!r}, which training never had"
                f" (it has {_listed(names)}): remove those rows or mend the label"
            )
    return LabelSets(names, targets, _flags(its, names), spelling.words)


def _spelling(rows: LabelledRows, asked: bool = False) -> _Spelling | None:
    labels = rows.labels
    if rows.columns:
        columns = tuple(rows.columns)
        return _Spelling("columns of 0 and 1", _of_columns(columns), columns) if asked or are_flags(labels) else None
    if any(isinstance(label, list | tuple) for label in labels):
        return _of_lists(rows)
    words = {label.strip() for label in labels if isinstance(label, str)} if set(map(type, labels)) == {str} else set()
    if words and all(word.startswith("[") and word.endswith("]") for word in words):
        return _Spelling("lists of labels, as pandas writes them", _written_list)
    for separator in (*_SEPARATORS, ",") if asked else _SEPARATORS:
        if any(separator in word for word in words) and (asked or _recur(words, separator)):
            return _Spelling(f"labels separated by {separator!r}", _separated(separator))
    return _Spelling("one label a row", _single) if asked else None


def _recur(words: set[str], separator: str) -> bool:
    """Tells whether a part comes in different words: else they may be names of classes that have the mark in them."""
    parts = [part for word in words for part in dict.fromkeys(_parts(word, separator))]
    return len(set(parts)) < len(parts)


def _parts(word: str, separator: str) -> list[str]:
    return [part.strip() for part in word.split(separator) if part.strip()]


def _of_lists(rows: LabelledRows) -> _Spelling:
    lists = [label for label in rows.labels if isinstance(label, list | tuple)]
    widths = set(map(len, lists))
    width = next(iter(widths))
    # As many 0 and 1 in every row are places, not numbers of labels: a list of labels names none twice.
    if len(lists) == len(rows.labels) and len(widths) == 1 and width >= 2 and are_flags(lists):
        names = rows.label_names
        known = tuple(names) if names is not None and len(names) == width else tuple(map(str, range(width)))
        return _Spelling("lists of 0 and 1", _of_places(known), known)
    return _Spelling("lists of labels", _of_list)


def _of_columns(columns: tuple[str, ...]) -> Callable[[LabelledRows, int], list[str]]:
    def read(rows: LabelledRows, row: int) -> list[str]:
        values = rows.labels[row]
        assert isinstance(values, tuple)
        found = []
        for column, value in zip(columns, values, strict=True):
            flag = flag_in(value)
            if flag is None:
                raise UserError(
                    f"row {row + 1} of {rows.name} has {plain(value)} in the column {column!r}, and the other label"
                    " columns hold 0 and 1: mend the row, or name one column with ",
                    _COLUMN,
                )
            if flag:
                found.append(column)
        return found

    return read


def _of_places(names: tuple[str, ...]) -> Callable[[LabelledRows, int], list[str]]:
    def read(rows: LabelledRows, row: int) -> list[str]:
        values = _list(rows, row)
        if len(values) != len(names):
            raise UserError(
                f"the list in row {row + 1} of {rows.name} has {len(values)} values and the others {len(names)}: mend"
                " the row"
            )
        if not are_flags([values]):
            wrong = next(value for value in values if flag_in(value) is None)
            raise UserError(
                f"the list in row {row + 1} of {rows.name} holds {plain(wrong)}, and the others 0 and 1: mend the row"
            )
        return [name for name, value in zip(names, values, strict=True) if flag_in(value)]

    return read


def _of_list(rows: LabelledRows, row: int) -> list[str]:
    values = _list(rows, row)
    if len({isinstance(value, str) for value in values}) > 1:
        raise UserError(f"the list in row {row + 1} of {rows.name} mixes numbers and words ({values!r}): mend the row")
    return [_word(rows, row, value) for value in values]


def _written_list(rows: LabelledRows, row: int) -> list[str]:
    word = rows.labels[row]
    try:
        values = ast.literal_eval(str(word).strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise UserError(
            f"row {row + 1} of {rows.name} has the label {word!r}, which is no list: mend the row, or write labels as"
            " a;b"
        )
    return [_word(rows, row, value) for value in values]


def _separated(separator: str) -> Callable[[LabelledRows, int], list[str]]:
    def read(rows: LabelledRows, row: int) -> list[str]:
        label = rows.labels[row]
        if not isinstance(label, str):
            return [_word(rows, row, label)]
        return _parts(label, separator)

    return read


def _single(rows: LabelledRows, row: int) -> list[str]:
    return [_word(rows, row, rows.labels[row])]


def _list(rows: LabelledRows, row: int) -> Sequence[object]:
    label = rows.labels[row]
    if not isinstance(label, list | tuple):
        raise UserError(
            f"row {row + 1} of {rows.name} has the label {plain(label)}, and other rows have lists: write a list in"
            " every row"
        )
    return label


def _word(rows: LabelledRows, row: int, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        if rows.label_names is None:
            return str(value)
        if 0 <= value < len(rows.label_names):
            return rows.label_names[value]
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise UserError(
        f"row {row + 1} of {rows.name} has {plain(value)} among its labels, which is no label: labels are whole numbers"
        " or words"
    )


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


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown}, … ({len(names)} in all)"
