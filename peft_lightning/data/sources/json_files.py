"""Reads JSON files: an object a line, one list of objects, or one object of columns."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.data.sources.checked_rows import numbered_rows
from peft_lightning.data.sources.surrogates import refuse_half_characters
from peft_lightning.data.sources.text_files import read_lines
from peft_lightning.errors import UserError


@dataclass(frozen=True)
class JsonColumns:
    """Columns of a JSON file.

    Args:
        present: Names of all columns of the file.
        values: The values of those columns that were asked for and are there; None where a row lacks one.
    """

    present: list[str]
    values: Mapping[str, list[object]]


def read_json(path: Path, columns: Iterable[str]) -> JsonColumns:
    """Reads some columns of a JSON file.

    Args:
        path: JSON Lines, one list of objects, or one object of columns, as ``DataFrame.to_json`` writes it unasked.
        columns: The columns to read.

    Raises:
        UserError: If the file is not JSON, or a row is no object or has half of a character.
    """
    wanted = list(columns)
    lines = read_lines(path)
    if not lines:
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    present: dict[str, None] = {}
    values: dict[str, list[object]] = {name: [] for name in wanted}
    number = 0
    for number, row in enumerate(_rows(path, lines, wanted), 1):
        if not isinstance(row, dict):
            raise UserError(f"row {number} of {path} is no JSON object: write one object with named columns a line")
        present.update(dict.fromkeys(row))
        for name in wanted:
            values[name].append(row.get(name))
    if not number:
        raise UserError(f"{path} has no rows: give it labelled texts or name another source")
    for column in values.values():
        refuse_half_characters(column, numbered_rows(str(path)))
    return JsonColumns(list(present), {name: values[name] for name in wanted if name in present})


def _rows(path: Path, lines: list[str], columns: list[str]) -> Iterable[object]:
    if path.name.lower().removesuffix(".gz").endswith(".json"):
        # Many programs write .json as one value over many lines; of JSON Lines, the first line is a value by itself.
        if lines[0].lstrip().startswith("["):
            rows = parse_line("\n".join(lines), 1, path)
            return rows if isinstance(rows, list) else [rows]
        if lines[0].lstrip().startswith("{") and not _is_json(lines[0]):
            lines = ["\n".join(lines)]
    if len(lines) > 1:
        return (parse_line(line, number, path) for number, line in enumerate(lines, 1))
    whole = parse_line(lines[0], 1, path)
    if isinstance(whole, dict) and any(isinstance(whole.get(name), list | dict) for name in columns):
        return _rows_of_columns(path, whole)
    if (
        isinstance(whole, dict)
        and not set(columns) & set(whole)
        and any(isinstance(value, list | dict) for value in whole.values())
    ):
        raise UserError(
            f"{path} is one JSON object ({', '.join(map(repr, list(whole)[:5]))}) that holds no column"
            f" {columns[0]!r}: write one object a row, as with DataFrame.to_json(orient='records', lines=True)"
        )
    return [whole]


def _rows_of_columns(path: Path, table: dict[str, object]) -> list[dict[str, object]]:
    """Makes rows of columns, each a list, or an object by row label."""
    columns: dict[str, dict[object, object]] = {}
    for name, column in table.items():
        if isinstance(column, dict):
            columns[name] = column
        elif isinstance(column, list):
            columns[name] = dict(enumerate(column))
    first_name, first = next(iter(columns.items()))
    for name, column in columns.items():
        if column.keys() != first.keys():
            row = next(row for row in (*first, *column) if row not in first or row not in column)
            raise UserError(f"only one of the columns {first_name!r} and {name!r} of {path} has a row {row!r}: mend it")
    return [{name: column[row] for name, column in columns.items()} for row in first]


def parse_line(text: str, line: int, path: Path) -> object:
    """Reads a line as JSON.

    Args:
        text: The line.
        line: Its number, from 1.
        path: Its file.

    Raises:
        UserError: If it is not JSON.
    """
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise UserError(f"line {line} of {path} is not JSON ({error}): write one object a line") from error
    except RecursionError as error:
        raise UserError(f"line {line} of {path} is nested too deeply: write one flat object a line") from error
    return value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
