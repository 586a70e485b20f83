"""How a source spells the labels of texts that may have several: lists, delimited words, or columns of 0 and 1."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.label_values import are_flags, flag_in, plain, spelled, whole
from peft_lightning.task.labelled_rows import LabelledRows

# What separates labels in one word; a comma may be part of a class's name, so it separates only where asked.
_SEPARATORS = (";", "|")


@dataclass(frozen=True)
class Spelling:
    """How a source spells the labels of a row.

    Args:
        words: The spelling in words.
        read: Returns the labels of row number i; a number where labels are places in a row of 0 and 1.
        names: Names of the labels that are known beforehand: those of columns, or of places.
    """

    words: str
    read: Callable[[LabelledRows, int], list[str]]
    names: tuple[str, ...] | None = None


def spelling_of(rows: LabelledRows, asked: bool = False) -> Spelling | None:
    """Tells how rows spell their labels; None if they have a single label each.

    Args:
        rows: The training rows.
        asked: Whether a word without a separator is a label too, and a comma separates.
    """
    labels = rows.labels
    if rows.columns:
        columns = tuple(rows.columns)
        return Spelling("columns of 0 and 1", _of_columns(columns), columns) if asked or are_flags(labels) else None
    if any(isinstance(label, list | tuple) for label in labels):
        return _of_lists(rows)
    words = {label.strip() for label in labels if isinstance(label, str)} if set(map(type, labels)) == {str} else set()
    if words and all(word.startswith("[") and word.endswith("]") for word in words):
        return Spelling("lists of labels, as pandas writes them", _written_list)
    for separator in (*_SEPARATORS, ",") if asked else _SEPARATORS:
        if any(separator in word for word in words) and (asked or _recur(words, separator)):
            return Spelling(f"labels separated by {separator!r}", _separated(separator))
    return Spelling("one label a row", _single) if asked else None


def _recur(words: set[str], separator: str) -> bool:
    """Tells whether a part comes in different words: else they may be names of classes that have the mark in them."""
    parts = [part for word in words for part in dict.fromkeys(_parts(word, separator))]
    return len(set(parts)) < len(parts)


def _parts(word: str, separator: str) -> list[str]:
    return [part.strip() for part in word.split(separator) if part.strip()]


def _of_lists(rows: LabelledRows) -> Spelling:
    lists = [label for label in rows.labels if isinstance(label, list | tuple)]
    widths = set(map(len, lists))
    width = next(iter(widths))
    # As many 0 and 1 in every row are places, not numbers of labels: a list of labels names none twice.
    if len(lists) == len(rows.labels) and len(widths) == 1 and width >= 2 and are_flags(lists):
        names = rows.label_names
        known = tuple(names) if names is not None and len(names) == width else tuple(map(str, range(width)))
        return Spelling("lists of 0 and 1", _of_places(known), known)
    return Spelling("lists of labels", _of_list)


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
                    Setting("data.label_column"),
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
    value = whole(value)
    word = spelled(value, rows.label_names)
    # A blank is no label.
    if word is None or (isinstance(value, str) and not word):
        raise UserError(
            f"row {row + 1} of {rows.name} has {plain(value)} among its labels, which is no label: labels are whole"
            " numbers or words"
        )
    return word
