"""Checks that every row of a table has what is read of it: a text, or both of a pair, and a label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from peft_lightning.data.sources.columns import TextColumn, first_without_words, string_column, values_of
from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.text_pairs import TextPairs, Texts
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    import pyarrow as pa


def numbered_rows(name: str, before: int = 0) -> Callable[[int], str]:
    """Returns what names a table's rows in error messages: from 1, without the header.

    Args:
        name: The file.
        before: Number of rows before the one whose position is 0.
    """
    return lambda position: f"row {before + position + 1} of {name}"


def checked_texts(texts: "Sequence[object] | pa.ChunkedArray", row_name: Callable[[int], str]) -> Sequence[str]:
    """Checks that all texts are strings and not blank.

    Args:
        texts: The values that were read; an Arrow column stays one.
        row_name: Returns the name of a row from its position, from 0.

    Returns:
        The same values, as strings.

    Raises:
        UserError: If a text is missing, blank or not a string.
    """
    column = string_column(texts)
    if column is not None:
        position = first_without_words(column)
        if position is not None:
            refuse_text(column[position].as_py(), row_name(position))
        return TextColumn(column)
    checked: list[str] = []
    for position, text in enumerate(values_of(texts)):
        if not isinstance(text, str) or not text.strip():
            refuse_text(text, row_name(position))
        checked.append(text)
    return checked


def refuse_text(text: object, row: str) -> NoReturn:
    """Refuses what stands where a text should.

    Args:
        text: What was read.
        row: The row's name.

    Raises:
        UserError: Always.
    """
    if text is None or text != text:
        raise UserError(f"{row} has no text: remove the row or give it one")
    if not isinstance(text, str):
        raise UserError(
            f"the text in {row} is a {type(text).__name__}, not text: is ", Setting("data.text_column"), " right?"
        )
    raise UserError(f"the text in {row} is blank: remove the row or give it one")


def checked_split(
    name: str,
    texts: "Sequence[object] | pa.ChunkedArray",
    labels: "Sequence[object] | pa.ChunkedArray",
    row_name: Callable[[int], str] | None = None,
    label_names: list[str] | None = None,
    pairs: "PairColumns | None" = None,
    columns: tuple[str, ...] = (),
) -> RawSplit:
    """Makes a split, and checks that every row has a text and a label.

    Args:
        name: Name of the split in error messages.
        texts: The values that were read as texts; an Arrow column of strings stays one.
        labels: The values that were read as labels.
        row_name: Returns the name of a row from its position, from 0.
        label_names: Names of the labels 0, 1, …, if the source has them.
        pairs: The second texts of pairs; None for single texts.
        columns: Names of the label columns if there are several; the labels are then tuples.

    Raises:
        UserError: If a text or a label is missing, or there are no rows.
    """
    row_name = row_name or numbered_rows(name)
    if len(texts) == 0:
        raise UserError(f"{name} has no rows: give it labelled texts or name another source")
    checked = checked_pairs(texts, pairs, row_name)
    spelled = values_of(labels)
    for position, label in enumerate(spelled):
        for column, value in zip(columns, label, strict=True) if columns and isinstance(label, tuple) else ():
            if _is_missing(value):
                raise UserError(
                    f"{row_name(position)} has no label in the column {column!r}: remove the row or give it one"
                )
        if label is None or label != label or (isinstance(label, str) and not label.strip()):
            raise UserError(f"{row_name(position)} has no label: remove the row or give it one")
    return RawSplit(name, checked, spelled, label_names, columns)


@dataclass(frozen=True)
class PairColumns:
    """The second column of pairs of texts.

    Args:
        first_name: Name of the column of first texts.
        name: Name of the column of second texts.
        texts: The values that were read of it.
    """

    first_name: str
    name: str
    texts: "Sequence[object] | pa.ChunkedArray"


def checked_pairs(
    texts: "Sequence[object] | pa.ChunkedArray", pairs: PairColumns | None, row_name: Callable[[int], str]
) -> Texts:
    """Checks as ``checked_texts`` does that all texts, or both sides of all pairs, are strings and not blank.

    Args:
        texts: The values that were read, the first texts of pairs.
        pairs: The second texts; None for single texts.
        row_name: Returns the name of a row from its position, from 0.

    Raises:
        UserError: If a text is missing, blank or not a string; of a pair, the error names the column.
    """
    if pairs is None:
        return checked_texts(texts, row_name)
    sides = ((texts, pairs.first_name), (pairs.texts, pairs.name))
    first, second = (checked_texts(values, _in_column(row_name, name)) for values, name in sides)
    return TextPairs(first, second)


def _in_column(row_name: Callable[[int], str], column: str) -> Callable[[int], str]:
    return lambda position: f"{row_name(position)} (column {column!r})"


def _is_missing(value: object) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())
