"""Reads texts from files: Parquet, CSV, TSV, JSON Lines, and plain text with one review per line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft_lightning.data.sources.columns import values_of
from peft_lightning.data.sources.corpus import RawSplit, checked_split, checked_texts, numbered_rows
from peft_lightning.data.sources.disk_columns import let_go, on_disk
from peft_lightning.data.sources.text_files import read_lines, read_utf8
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a Parquet file that are decoded together: 6 MB of whole reviews.
_ROWS_AT_ONCE = 1 << 12
# A column's pages are read so many bytes at a time: a file may be one group of rows.
_BYTES_AT_ONCE = 1 << 20
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class _Columns:
    values: "Mapping[str, Sequence[object] | pa.ChunkedArray]"
    label_names: Mapping[str, list[str]]


def read_table(path: Path, text_column: str, label_column: str) -> RawSplit:
    """Reads labelled texts.

    Args:
        path: A file; its suffix tells the format: .parquet, .csv, .tsv, .jsonl, or .json for JSON Lines or one list.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels.

    Returns:
        The rows in the file's order.

    Raises:
        UserError: If the file cannot be read, lacks a column, or has a row without text or label.
    """
    columns = _read_columns(path, {text_column: "text_column", label_column: "label_column"})
    return checked_split(
        str(path),
        columns.values[text_column],
        columns.values[label_column],
        label_names=columns.label_names.get(label_column),
    )


def read_texts(path: Path, text_column: str) -> Sequence[str]:
    """Reads the texts to predict on.

    Args:
        path: A table as in ``read_table``, whose labels are ignored, or a .txt file with one text per line.
        text_column: Name of the column of texts in a table.

    Returns:
        The texts: the i-th is the i-th row or line of the file.

    Raises:
        UserError: If the file cannot be read, lacks the column, has no rows, or has a row without text.
    """
    if path.suffix.lower() in TABLE_SUFFIXES:
        texts: Sequence[object] | pa.ChunkedArray = _read_columns(path, {text_column: "text_column"}).values[
            text_column
        ]
        row_name = numbered_rows(str(path))
    elif path.suffix.lower() == ".txt":
        texts = read_lines(path)

        def row_name(position: int) -> str:
            return f"line {position + 1} of {path}"
    else:
        raise UserError(
            f"{path} has no known format: use one of {', '.join(TABLE_SUFFIXES)} or .txt with one text a line"
        )
    if len(texts) == 0:
        raise UserError(f"{path} has no rows: there is nothing to predict")
    return checked_texts(texts, row_name)


def _read_columns(path: Path, columns: Mapping[str, str]) -> _Columns:
    """Reads some columns; ``columns`` maps each column's name to the setting that names it."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError(f"{path} does not exist: check the path")
    if suffix in (".jsonl", ".json"):
        return _read_json(path, columns)
    return _read_arrow(path, columns)


def _read_json(path: Path, columns: Mapping[str, str]) -> _Columns:
    rows = _json_rows(path)
    present = list(dict.fromkeys(name for row in rows for name in row))
    _require_columns(path, columns, present)
    return _Columns({name: [row.get(name) for row in rows] for name in columns}, {})


def _json_rows(path: Path) -> list[dict[str, object]]:
    lines = read_lines(path)
    if not lines:
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    rows: list[Any] = []
    # Many programs write .json as one list.
    is_list = path.suffix.lower() == ".json" and lines[0].lstrip().startswith("[")
    for number, line in enumerate(["\n".join(lines)] if is_list else lines, 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"line {number} of {path} is not JSON ({error}): write one object a line") from error
        rows += value if is_list else [value]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"row {number} of {path} is no JSON object: write one object with named columns a line")
    return rows


def _read_arrow(path: Path, columns: Mapping[str, str]) -> _Columns:
    import pyarrow as pa

    try:
        table = _parquet(path, columns) if path.suffix.lower() == ".parquet" else _delimited(path, columns)
    except (pa.ArrowException, OSError) as error:
        # The first line names the fault; the rest quotes the row, which may be a whole review.
        reason = str(error).split("\n")[0][:150].rstrip()
        raise UserError(f"cannot read {path} ({reason}): mend or re-export the file") from error
    read = {name: _values(path, table.column(name)) for name in columns}
    # Texts stay in Arrow. Labels are Python's: a task looks at each, and equal ones share an object.
    values = {
        name: read[name] if setting == "text_column" else values_of(read[name]) for name, setting in columns.items()
    }
    return _Columns(values, _class_label_names(table.schema))


def _parquet(path: Path, columns: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BYTES_AT_ONCE) as file:
        schema = file.schema_arrow
        _require_columns(path, columns, schema.names)
        fields = [field for field in schema if field.name in columns]
        # Batch by batch: 0.6 s for a million short rows, and 1.4 s and twice the memory as one table.
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=[field.name for field in fields], use_threads=False)
        return on_disk(pa.schema(fields, schema.metadata), batches)


def _delimited(path: Path, columns: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    content = read_utf8(path).encode()
    if not content.strip():
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    table = pa_csv.read_csv(
        pa.BufferReader(content),
        # One block, so that no review is too long for a block. One thread, so that errors name the row.
        pa_csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
        pa_csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True),
        # All columns are read as text: "NA" and "2001" are reviews like any other, and labels are parsed later.
        pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False),
    )
    _require_columns(path, columns, table.column_names)
    return table


def _require_columns(path: Path, columns: Mapping[str, str], present: Sequence[str]) -> None:
    for name, setting in columns.items():
        if present.count(name) > 1:
            raise UserError(f"{path} has the column {name!r} twice: rename one of them")
        if name not in present:
            separator = next((mark for mark in ";\t|" if len(present) == 1 and mark in present[0]), None)
            if separator is not None and path.suffix.lower() == ".csv":
                raise UserError(f"{path} is separated by {separator!r}, not by commas: re-export it with commas")
            raise UserError(
                f"{path} has no column {name!r} (it has {', '.join(map(repr, present))}): name it with ",
                Setting(f"data.{setting}"),
            )


def _values(path: Path, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa

    try:
        # Texts stay in Arrow, which decodes them only where they are used.
        for chunk in column.chunks:
            chunk.validate(full=True)
            let_go([chunk])
    except pa.ArrowInvalid:
        for row, raw in enumerate(column.cast(pa.large_binary()).to_pylist(), 1):
            try:
                (raw or b"").decode()
            except UnicodeDecodeError as error:
                raise UserError(f"row {row} of {path} is not UTF-8: convert it before writing the file") from error
        raise
    return column


def _class_label_names(schema: "pa.Schema") -> dict[str, list[str]]:
    """Reads the label names that ``datasets`` writes into the metadata of Parquet files."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
