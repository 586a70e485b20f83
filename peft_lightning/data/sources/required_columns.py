"""Refuses tables that lack a column."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from peft_lightning.data.sources.splits import Unlabelled
from peft_lightning.errors import Setting, UserError


def require_columns(path: Path, columns: Mapping[str, str], present: Sequence[str]) -> None:
    """Refuses a table that lacks a column, or has it twice.

    Args:
        path: The table's file.
        columns: The setting that names each column, by the column's name.
        present: The names of the table's columns.

    Raises:
        UserError: If a column is not there exactly once.
    """
    for name, setting in columns.items():
        if present.count(name) > 1:
            raise UserError(f"{path} has the column {name!r} twice: rename one of them")
        if name not in present:
            separator = next((mark for mark in ";\t|" if len(present) == 1 and mark in present[0]), None)
            if separator is not None and path.name.lower().endswith((".csv", ".csv.gz")):
                raise UserError(f"{path} is separated by {separator!r}, not by commas: re-export it with commas")
            kind = Unlabelled if setting == "label_column" else UserError
            raise kind(
                f"{path} has no column {name!r} (it has {', '.join(map(repr, present))}): name it with ",
                Setting(f"data.{setting}"),
            )
