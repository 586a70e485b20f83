"""Finds the fields of a delimited file that stand in quotation marks (RFC 4180)."""

import re

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

QUOTE, _LF, _CR = b'"\n\r'


def find_quoted_fields(content: bytes, delimiter: str) -> tuple[Positions, Positions, int | None]:
    """Finds the quoted fields of a file, up to the first that is not closed at its end.

    Args:
        content: The file, in UTF-8.
        delimiter: What separates its columns.

    Returns:
        The positions of the opening marks, those of the closing marks, and the position of the first opening mark that
        no mark closes at the end of a field; None if there is none.
    """
    return _well_formed(np.frombuffer(content, dtype=np.uint8), ord(delimiter)) or _one_by_one(content, delimiter)


def well_formed(content: bytes, delimiter: str) -> bool:
    """Tells whether all quotation marks of a file enclose fields, or are doubled within them.

    Args:
        content: The file, in UTF-8.
        delimiter: What separates its columns.
    """
    if b'"' not in content:
        return True
    return _well_formed(np.frombuffer(content, dtype=np.uint8), ord(delimiter)) is not None


def _well_formed(content: NDArray[np.uint8], delimiter: int) -> tuple[Positions, Positions, None] | None:
    """Finds the quoted fields if no mark stands within an unquoted field; None if one may."""
    quotes = np.flatnonzero(content == QUOTE)
    if len(quotes) % 2:
        return None
    opens, closes = quotes[::2], quotes[1::2]
    between = (delimiter, _LF, _CR)
    # Two marks in a row within a field are one mark of the text: they close and open again.
    reopens = np.append(False, opens[1:] == closes[:-1] + 1)
    starts = (opens == 0) | np.isin(content[opens - 1], between)
    ends = np.append(reopens[1:], False) | (closes == len(content) - 1)
    ends |= np.isin(content[np.minimum(closes + 1, len(content) - 1)], between)
    if not ((starts | reopens) & ends).all():
        return None
    return opens[~reopens], closes[np.append(~reopens[1:], True)], None


def _one_by_one(content: bytes, delimiter: str) -> tuple[Positions, Positions, int | None]:
    between = delimiter.encode()
    opening = re.compile(b'(?:\\A|[%s\r\n])"' % between)
    # Blanks after the closing mark are let pass, as they always were.
    quoted = re.compile(rb'"(?:[^"]++|"")*+" *(?=[%s\r\n]|\Z)' % between)
    opens: list[int] = []
    closes: list[int] = []
    position, unclosed = 0, None
    while unclosed is None and (found := opening.search(content, position)):
        start = found.end() - 1
        if field := quoted.match(content, start):
            opens.append(start)
            closes.append(start + field[0].rindex(b'"'))
            position = field.end()
        else:
            unclosed = start
    return np.array(opens, dtype=np.int64), np.array(closes, dtype=np.int64), unclosed
