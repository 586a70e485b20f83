"""Reads the texts of large files piece by piece into a column on the disk, so that memory stays flat.

A file that only its whole can explain, such as one in UTF-16, is left to the readers of whole files.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.data.sources.checked_rows import numbered_rows, refuse_text
from peft_lightning.data.sources.disk_columns import on_disk
from peft_lightning.data.sources.json_files import parse_line
from peft_lightning.data.sources.large_tables import header_of, read_rows, row_blocks
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.required_columns import require_columns
from peft_lightning.data.sources.surrogates import refuse_half_characters
from peft_lightning.data.sources.text_files import decompression_error, is_plain_utf8, not_utf8, reading_error
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# A smaller file is read whole: that takes some 30 MB at most. Compressed texts are about a third of their size.
LARGE = 1 << 22
_LARGE_COMPRESSED = LARGE // 4
_PIECE = 1 << 20
# Lines that become rows of Arrow's together.
_ROWS_AT_ONCE = 1 << 12


def read_large_texts(path: Path, suffix: str, text_column: str, quoting: Quoting) -> "pa.ChunkedArray | None":
    """Reads the texts of a large file; where one is null, or blank, is not looked at.

    Args:
        path: The file.
        suffix: The end of its name that tells its format, without ``.gz``.
        text_column: Name of the column of texts in a table.
        quoting: Whether a quotation mark at the start of a CSV's or TSV's field encloses the field.

    Returns:
        The texts, on the disk; None where the file is small or has to be read whole.

    Raises:
        UserError: If the file cannot be read, or has a row that is no text.
    """
    try:
        compressed = path.name.lower().endswith(".gz")
        if path.stat().st_size <= (_LARGE_COMPRESSED if compressed else LARGE):
            return None
        beginning = next(_raw_pieces(path), b"")
    except OSError as error:
        raise reading_error(path, error) from error
    if not is_plain_utf8(beginning) or b"\n" not in beginning:
        return None
    if suffix == ".txt":
        return _column(lines for lines in _lines(_pieces(path)))
    if suffix in (".jsonl", ".json"):
        first = beginning.split(b"\n", 1)[0]
        return _column(_json_texts(path, text_column)) if _is_row(first, text_column) else None
    return _delimited_texts(path, suffix, text_column, quoting)


def _column(texts: Iterable[Sequence[str]]) -> "pa.ChunkedArray":
    import pyarrow as pa

    schema = pa.schema([("text", pa.string())])
    batches = (
        pa.record_batch([pa.array(some[start : start + _ROWS_AT_ONCE], pa.string())], schema)
        for some in texts
        for start in range(0, len(some), _ROWS_AT_ONCE)
    )
    return on_disk(schema, batches).column(0)


# Pieces of a file.


def _raw_pieces(path: Path) -> Iterator[bytes]:
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path) if compressed else path.open("rb") as file:
        while True:
            try:
                piece = file.read(_PIECE)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise decompression_error(path, error) from error
            if not piece:
                return
            yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    """Reads a file as UTF-8, without a byte order mark.

    Raises:
        UserError: If it cannot be read or is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    place, lines, last = 0, 1, b""
    try:
        for piece in _raw_pieces(path):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                start = place - held + error.start
                before = lines + piece.count(b"\n", 0, max(0, error.start - held))
                raise not_utf8(path, start, before, (last[len(last) - held :] + piece)[error.start :]) from error
            yield piece.removeprefix(codecs.BOM_UTF8) if not place else piece
            place, lines, last = place + len(piece), lines + piece.count(b"\n"), piece
    except OSError as error:
        raise reading_error(path, error) from error
    if held := len(decoder.getstate()[0]):
        raise not_utf8(path, place - held, lines, last[len(last) - held :])


def _lines(pieces: Iterable[bytes]) -> Iterator[list[str]]:
    """Splits a text into lines as ``read_lines`` does: without blank ones at its end, the last one stripped there."""
    # The last line with words, and the blank ones behind it, which may be the end.
    held: list[str] = []
    for block in _whole_lines(pieces):
        lines = block.decode().removesuffix("\n").split("\n")
        last = next((place for place in reversed(range(len(lines))) if lines[place].strip()), None)
        if last is not None:
            yield [line.removesuffix("\r") for line in (*held, *lines[:last])]
            held = []
        held += lines[last or 0 :]
    if held and (end := held[0].rstrip()):
        yield [end]


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    for piece in pieces:
        whole, newline, begun = piece.rpartition(b"\n")
        if newline:
            yield b"".join([*rest, whole, newline])
            rest = []
        rest.append(begun)
    if any(rest):
        yield b"".join(rest)


# Formats.


def _is_row(line: bytes, text_column: str) -> bool:
    """Tells whether the first line of a JSON file is a row of JSON Lines; nothing else is read piece by piece."""
    import json

    try:
        row = json.loads(line.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and not isinstance(row.get(text_column), list | dict)


def _json_texts(path: Path, text_column: str) -> Iterator[list[str]]:
    row_name = numbered_rows(str(path))
    present: dict[str, None] = {}
    read, missing = 0, None
    for lines in _lines(_pieces(path)):
        before, texts = read, []
        for line in lines:
            read += 1
            row = parse_line(line, read, path)
            if not isinstance(row, dict):
                raise UserError(f"row {read} of {path} is no JSON object: write one object with named columns a line")
            present.update(dict.fromkeys(row))
            if (text := row.get(text_column)) is None:
                missing = missing or read
            elif not isinstance(text, str):
                refuse_text(text, row_name(read - 1))
            texts.append(text or "")
        refuse_half_characters(texts, numbered_rows(str(path), before))
        yield texts
    require_columns(path, {text_column: "text_column"}, list(present))
    if missing is not None:
        refuse_text(None, row_name(missing - 1))


def _delimited_texts(path: Path, suffix: str, text_column: str, quoting: Quoting) -> "pa.ChunkedArray | None":
    from peft_lightning.data.sources.quoting import quotes_enclose_in_blocks

    delimiter = {".csv": ",", ".tsv": "\t"}[suffix]
    opening = re.compile(b'(?:\\A|[%s\r\n])"' % delimiter.encode())
    marks = quoting != "none" and any(map(opening.search, _whole_lines(_pieces(path))))
    header = header_of(_pieces(path), marks)
    if header is None:
        return None
    if marks:
        enclosed = quotes_enclose_in_blocks(str(path), header, row_blocks(_pieces(path), True), delimiter, quoting)
        if enclosed is None:
            return None
    names, batches = read_rows(path, header, row_blocks(_pieces(path), marks), delimiter, text_column, marks)
    require_columns(path, {text_column: "text_column"}, names)
    import pyarrow as pa

    return on_disk(pa.schema([(text_column, pa.string())]), batches).column(0)
