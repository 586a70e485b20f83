"""Reads large delimited files, CSV and TSV, in blocks of whole rows."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peft_lightning.data.sources.quoted_fields import QUOTE
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_LF = b"\n"[0]
# A row that has not ended after so many bytes is no row: a quotation mark is not closed.
_LONGEST_ROW = 1 << 26
_ROW_NUMBER = re.compile(r"Row #(\d+)")


class NoRow(Exception):
    """The quotation marks of a file do not tell where its rows end."""


def row_blocks(pieces: Iterable[bytes], quoted: bool) -> Iterator[bytes]:
    """Cuts a file at the ends of rows.

    Args:
        pieces: The file, in UTF-8.
        quoted: Whether fields may stand in quotation marks, within which a line end ends no row.

    Raises:
        NoRow: If a row does not end.
    """
    rest = b""
    for piece in pieces:
        block = rest + piece
        cut = _last_end(block) if quoted else block.rfind(b"\n") + 1
        if cut:
            yield block[:cut]
        rest = block[cut:]
        if len(rest) > _LONGEST_ROW:
            raise NoRow
    if rest:
        yield rest


def _last_end(block: bytes) -> int:
    """Returns where the last line ends that has an even number of quotation marks before its end."""
    content = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(content == _LF)
    outside = np.searchsorted(np.flatnonzero(content == QUOTE), ends) % 2 == 0
    return int(ends[outside][-1]) + 1 if outside.any() else 0


def header_of(pieces: Iterable[bytes], quoted: bool) -> bytes | None:
    """Returns the first row of a file, which has to be a line.

    Args:
        pieces: The file, in UTF-8.
        quoted: Whether fields may stand in quotation marks.

    Returns:
        The line with its end; None if it is no row, or none was found where it should be.
    """
    line, newline, _ = next(iter(pieces), b"").lstrip(b"\r\n").partition(b"\n")
    return line + newline if newline and not (quoted and line.count(b'"') % 2) else None


def read_rows(
    path: Path, header: bytes, blocks: Iterable[bytes], delimiter: str, text_column: str, quoted: bool
) -> "tuple[list[str], Iterator[pa.RecordBatch]]":
    """Reads a column of a delimited file as text.

    Args:
        path: The file, for errors.
        header: Its first row.
        blocks: All of it, in blocks of whole rows.
        delimiter: What separates its columns.
        text_column: Name of the column.
        quoted: Whether a quotation mark at a field's start encloses it.

    Returns:
        The names of all columns, and the rows.

    Raises:
        UserError: If a row has another number of columns than the header.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    # In a file of one column a blank line is a row without a text; Arrow would leave it out.
    single = delimiter.encode() not in header
    parsing = pa_csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=True,
        ignore_empty_lines=not single,
    )
    # "NA" and "2001" are reviews like any other.
    converting = pa_csv.ConvertOptions(
        column_types={text_column: pa.string()}, include_columns=[text_column], strings_can_be_null=False
    )

    def read(content: bytes, converted: pa_csv.ConvertOptions | None, before: int) -> pa.Table:
        try:
            return pa_csv.read_csv(
                pa.BufferReader(content),
                # One thread, so that errors name the row.
                pa_csv.ReadOptions(use_threads=False, block_size=len(content) + 1),
                parsing,
                converted,
            )
        except pa.ArrowException as error:
            line = _ROW_NUMBER.sub(lambda found: f"Row #{int(found[1]) + before}", str(error).split("\n")[0])
            raise UserError(f"cannot read {path} ({line[:150].rstrip()}): mend or re-export the file") from error

    def batches() -> Iterator[pa.RecordBatch]:
        before = 0
        for number, block in enumerate(_without_last_blanks(blocks) if single else blocks):
            rows = block.lstrip(b"\r\n")[len(header) :] if not number else block
            if rows:
                table = read(header + rows, converting, before)
                before += table.num_rows
                yield from table.to_batches(max_chunksize=1 << 12)

    return read(header, None, 0).column_names, batches()


def _without_last_blanks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Leaves the blank lines at the end of a file out."""
    held = b""
    for block in blocks:
        rows = block.rstrip(b"\r\n")
        ends = block[len(rows) :]
        if rows:
            yield held + rows + b"\n"
            held = ends.removeprefix(b"\r").removeprefix(b"\n")
        else:
            held += ends
