"""Reads delimited files: CSV and TSV, written with quoting or without."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.data.sources.quoting import Quoting, quotes_enclose
from peft_lightning.data.sources.text_files import read_utf8_bytes
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def read_delimited(
    path: Path, delimiter: str, columns: Iterable[str], label_column: str | None, quoting: Quoting
) -> "pa.Table":
    """Reads a delimited file, every line of which is a row.

    Args:
        path: The file, in UTF-8 or with a byte order mark, compressed with gzip or not.
        delimiter: What separates its columns.
        columns: The columns to read as text.
        label_column: Column of labels; None if labels do not matter.
        quoting: Whether a quotation mark at a field's start encloses it.

    Raises:
        UserError: If the file is empty, or its quotation marks can be read in more than one way or in none.
        pyarrow.ArrowException: If a row has another number of columns than the header.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    content = read_utf8_bytes(path)
    if not content.strip():
        raise UserError(f"{path} is empty: give it labelled texts or name another file")
    quoted = quotes_enclose(str(path), content, delimiter, quoting, label_column)
    # In a file of one column a blank line is a row without a text; Arrow would leave it out.
    content = content.lstrip(b"\r\n")
    single = delimiter.encode() not in content.split(b"\n", 1)[0]
    if single:
        content = content.rstrip(b"\r\n") + b"\n"
    return pa_csv.read_csv(
        pa.BufferReader(content),
        # One block, so that no review is too long for a block. One thread, so that errors name the row.
        pa_csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
        pa_csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=True,
            ignore_empty_lines=not single,
        ),
        # All columns are read as text: "NA" and "2001" are reviews like any other, and labels are parsed later.
        pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False),
    )
