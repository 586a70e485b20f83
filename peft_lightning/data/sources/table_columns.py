"""Columns of a table as its format holds them: Parquet, CSV, TSV, JSON Lines; texts stay in Arrow where they can."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft_lightning.data.sources.delimited import read_delimited
from peft_lightning.data.sources.disk_columns import let_go, on_disk
from peft_lightning.data.sources.json_files import read_json
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.required_columns import require_columns
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a Parquet file that are decoded together: 6 MB of whole reviews.
_ROWS_AT_ONCE = 1 << 12
# A column's pages are read so many bytes at a time: a file may be one group of rows.
_BYTES_AT_ONCE = 1 << 20
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
# Parquet compresses its columns itself.
COMPRESSED_SUFFIXES = (".csv.gz", ".tsv.gz", ".jsonl.gz", ".json.gz")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TableColumns:
    """Some columns of a file.

    Args:
        values: Their values by name.
        label_names: Names of the labels 0, 1, … of those columns that have some.
    """

    values: "Mapping[str, Sequence[object] | pa.ChunkedArray]"
    label_names: Mapping[str, list[str]]


def table_suffix(path: Path) -> str | None:
    """Returns the end of a file's name that tells its format, ``.csv.gz`` for instance; None if there is no table."""
    name = path.name.lower()
    return next((suffix for suffix in (*COMPRESSED_SUFFIXES, *TABLE_SUFFIXES) if name.endswith(suffix)), None)


def read_columns(
    path: Path, columns: Mapping[str, str], quoting: Quoting, label_column: str | None = None
) -> TableColumns:
    """Reads some columns of a file.

    Args:
        path: The file; its suffix tells the format.
        columns: The setting that names each column, by the column's name.
        quoting: Whether a quotation mark at the start of a CSV's or TSV's field encloses the field.
        label_column: Name of the column of labels; None if there is none.

    Raises:
        UserError: If the file cannot be read or lacks a column.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: check the path")
    suffix = (table_suffix(path) or "").removesuffix(".gz")
    if not suffix:
        raise UserError(f"{path} has no known format: use one of {', '.join(TABLE_SUFFIXES)}")
    if suffix in (".jsonl", ".json"):
        content = read_json(path, columns)
        require_columns(path, columns, content.present)
        return TableColumns(content.values, {})
    return _read_arrow(path, suffix, columns, quoting, label_column)


def checked_encoding(name: str, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Returns a column as it is; refuses one with a string that is not UTF-8.

    Args:
        name: Name of the file or split in error messages.
        column: The column.

    Raises:
        UserError: If a string is not UTF-8.
    """
    import pyarrow as pa

    try:
        for chunk in column.chunks:
            chunk.validate(full=True)
            let_go([chunk])
    except pa.ArrowInvalid as invalid:
        for row, raw in enumerate(column.cast(pa.large_binary()).to_pylist(), 1):
            try:
                (raw or b"").decode()
            except UnicodeDecodeError as error:
                raise UserError(f"row {row} of {name} is not UTF-8: convert it before writing the file") from error
        raise UserError(f"cannot read {name} ({invalid}): mend or re-export it") from invalid
    return column


def _read_arrow(
    path: Path, suffix: str, columns: Mapping[str, str], quoting: Quoting, label_column: str | None
) -> TableColumns:
    import pyarrow as pa

    try:
        if suffix == ".parquet":
            table = _parquet(path, columns)
        else:
            table = read_delimited(path, DELIMITERS[suffix], columns, label_column, quoting)
            require_columns(path, columns, table.column_names)
    except (pa.ArrowException, OSError) as error:
        # The first line names the fault; the rest quotes the row, which may be a whole review.
        reason = str(error).split("\n")[0][:150].rstrip()
        raise UserError(f"cannot read {path} ({reason}): mend or re-export the file") from error
    values = {name: checked_encoding(str(path), table.column(name)) for name in columns}
    return TableColumns(values, _class_label_names(table.schema))


def _parquet(path: Path, columns: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BYTES_AT_ONCE) as file:
        schema = file.schema_arrow
        require_columns(path, columns, schema.names)
        fields = [field for field in schema if field.name in columns]
        # Batch by batch: 0.6 s for a million short rows, and 1.4 s and twice the memory as one table.
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=[field.name for field in fields], use_threads=False)
        return on_disk(pa.schema(fields, schema.metadata), batches)


def _class_label_names(schema: "pa.Schema") -> dict[str, list[str]]:
    """Reads the label names that ``datasets`` writes into the metadata of Parquet files."""
    features: Mapping[str, Any]
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        # A list of labels has its names within: {"_type": "List", "feature": {"_type": "ClassLabel", …}}.
        within = {name: feature.get("feature", feature) for name, feature in features.items()}
        return {name: feature["names"] for name, feature in within.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
