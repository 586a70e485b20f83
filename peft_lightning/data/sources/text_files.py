"""Reads text files in UTF-8, and in UTF-16 or UTF-32 with a byte order mark, compressed with gzip or not."""

import codecs
import gzip
import zlib
from pathlib import Path

from peft_lightning.errors import UserError

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Files of other kinds under a text file's name, by their first bytes.
_NO_TEXT = (
    (b"PK\x03\x04", "is a workbook or another zip archive, not text: export it as UTF-8 text"),
    (b"\x1f\x8b", "is compressed with gzip: end its name in .gz"),
    (b"PAR1", "is a Parquet file: end its name in .parquet"),
)
_CHUNK = 2**24


def read_utf8(path: Path) -> str:
    """Reads a text file.

    Raises:
        UserError: If it cannot be read or its encoding is not known.
    """
    return read_utf8_bytes(path).decode()


def read_utf8_bytes(path: Path) -> bytes:
    """Reads a text file as UTF-8, without a byte order mark.

    Raises:
        UserError: If it cannot be read or its encoding is not known.
    """
    content = _read(path)
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} begins like {encoding.upper()} and is not ({error.reason} at byte {error.start}): "
                    "save it as UTF-8"
                ) from error
    for beginning, advice in _NO_TEXT:
        if content.startswith(beginning):
            raise UserError(f"{path} {advice}")
    if _is_utf16(content):
        kind = "le" if content[1::2][:500].count(0) > content[::2][:500].count(0) else "be"
        raise UserError(f"{path} is not UTF-8: convert it, for instance with iconv -f utf-16{kind} -t utf-8")
    start = _first_undecodable(content)
    if start is not None:
        raise not_utf8(path, start, content.count(b"\n", 0, start) + 1, content[start : start + 1000])
    return content.removeprefix(codecs.BOM_UTF8)


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file, without the blank lines at its end.

    Raises:
        UserError: If it cannot be read or its encoding is not known.
    """
    # Not splitlines(): it also splits at characters that reviews contain, such as U+0085.
    text = read_utf8(path).rstrip()
    if "\n" not in text:
        return text.split("\r") if text else []
    return [line.removesuffix("\r") for line in text.split("\n")]


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise reading_error(path, error) from error
    if path.suffix.lower() != ".gz" or not content:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise decompression_error(path, error) from error


def is_plain_utf8(beginning: bytes) -> bool:
    """Tells from its beginning whether a file can be UTF-8: it has no mark of another encoding or kind.

    Args:
        beginning: Its first bytes, 1,000 or more.
    """
    marks = [mark for mark, _ in (*_MARKS, *_NO_TEXT)]
    return not beginning.startswith(tuple(marks)) and not _is_utf16(beginning)


def reading_error(path: Path, error: OSError) -> UserError:
    """Returns the error for a file that cannot be read."""
    return UserError(f"cannot read {path} ({error.strerror}): check the path and its permissions")


def decompression_error(path: Path, error: Exception) -> UserError:
    """Returns the error for a file that is not compressed as its name says."""
    return UserError(f"cannot decompress {path} ({error}): compress the file again with gzip")


def not_utf8(path: Path, start: int, line: int, content: bytes) -> UserError:
    """Returns the error for a file that is not UTF-8.

    Args:
        path: The file.
        start: Position of the first byte that is not.
        line: The line that it is in, from 1.
        content: What follows from that byte on; the first 1,000 bytes count.
    """
    # Windows has letters and quotation marks where Latin-1 has control characters.
    encoding = "cp1252" if any(0x80 <= byte < 0xA0 for byte in content[:1000]) else "latin1"
    return UserError(
        f"{path} is not UTF-8 (line {line}, byte {start}): convert it, for instance with iconv -f {encoding} -t utf-8"
    )


def _is_utf16(content: bytes) -> bool:
    """Tells whether a text without a mark is UTF-16: every second byte of Latin text is 0 then."""
    return content[:1000].count(0) > len(content[:1000]) // 4


def _first_undecodable(content: bytes) -> int | None:
    """Finds the first byte that is not UTF-8, a piece at a time: decoded whole, it takes up to four times as much."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _CHUNK):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(content[start : start + _CHUNK], final=start + _CHUNK >= len(content))
        except UnicodeDecodeError as error:
            return start - held + error.start
    return None
