"""Reads lists, and columns of 0 and 1, as one label a row, where single labels are asked for."""

from __future__ import annotations

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.label_values import flag_in, number_in, plain
from peft_lightning.task.labelled_rows import LabelledRows, PlainRows

_MEND = (": mend the row, or leave out ", Setting("model.problem_type"))


def one_label_each(rows: LabelledRows) -> LabelledRows:
    """Returns rows with one label each, of the one that their list holds, or whose column is 1.

    Args:
        rows: The rows.

    Raises:
        UserError: If a row has none or several.
    """
    if rows.columns:
        return PlainRows(rows.name, [_one_column(rows, row, label) for row, label in enumerate(rows.labels)])
    if not any(isinstance(label, list | tuple) for label in rows.labels):
        return rows
    return PlainRows(
        rows.name, [_one_value(rows, row, label) for row, label in enumerate(rows.labels)], rows.label_names
    )


def refuse_columns(rows: LabelledRows) -> None:
    """Refuses several label columns that hold neither 0 and 1 nor numbers, and names the first value that is neither.

    Args:
        rows: The training rows.

    Raises:
        UserError: If there are several label columns.
    """
    if not rows.columns:
        return
    for row, values in enumerate(rows.labels):
        assert isinstance(values, tuple)
        for column, value in zip(rows.columns, values, strict=True):
            if number_in(value) is None and flag_in(value) is None:
                raise UserError(
                    f"row {row + 1} of {rows.name} has {plain(value)} in the column {column!r}: several label columns"
                    " hold 0 and 1, or a number each; mend the row, or name one column with ",
                    Setting("data.label_column"),
                )
    raise UserError(
        f"the label columns of {rows.name} mix truth values and numbers: mend them, or name one column with ",
        Setting("data.label_column"),
    )


def _one_column(rows: LabelledRows, row: int, values: object) -> str:
    assert isinstance(values, tuple)
    flags = [flag_in(value) for value in values]
    for column, value, flag in zip(rows.columns, values, flags, strict=True):
        if flag is None:
            raise UserError(
                f"row {row + 1} of {rows.name} has {plain(value)} in the column {column!r}, and columns of classes hold"
                " 0 and 1",
                *_MEND,
            )
    found = [column for column, flag in zip(rows.columns, flags, strict=True) if flag]
    if len(found) != 1:
        raise UserError(f"row {row + 1} of {rows.name} has {_listed(found)}, and one class is asked for", *_MEND)
    return found[0]


def _one_value(rows: LabelledRows, row: int, label: object) -> object:
    if not isinstance(label, list | tuple):
        return label
    if len(label) != 1:
        raise UserError(
            f"row {row + 1} of {rows.name} has {_listed(list(map(str, label)))}, and one class is asked for", *_MEND
        )
    return label[0]


def _listed(found: list[str]) -> str:
    return f"the labels {', '.join(found)}" if found else "no label"
