"""Decides whether the fields of a delimited file stand in quotation marks, or the marks are part of the texts.

A quotation mark at a field's start opens a quoted field in a file that was written with quoting (RFC 4180): up to the
closing mark, tabs and line ends belong to the text. In a file that was written without (the TSVs of GLUE, tweets) it is
a character like any other, and reading it as an opening mark swallows the rows up to the next one.
"""

import re
from collections.abc import Iterable
from typing import Literal

import numpy as np

from peft_lightning.data.sources.delimited_lines import DelimitedLines
from peft_lightning.data.sources.large_tables import NoRow
from peft_lightning.data.sources.quoted_fields import well_formed
from peft_lightning.data.sources.quoting_evidence import QuotingEvidence
from peft_lightning.errors import Setting, UserError

Quoting = Literal["auto", "minimal", "none"]


def quotes_enclose(name: str, content: bytes, delimiter: str, quoting: Quoting, label_column: str | None) -> bool:
    """Tells whether a quotation mark at a field's start encloses the field.

    Args:
        name: Name of the file in error messages.
        content: The file, in UTF-8.
        delimiter: What separates its columns.
        quoting: What the user says of it.
        label_column: Column of labels, which tell rows from the lines of a text; None if there is none.

    Returns:
        False if quotation marks are part of the texts.

    Raises:
        UserError: If neither reading fits the file, or both do and are not of the same rows.
    """
    if quoting == "none" or not re.search(b'(?:\\A|[%s\r\n])"' % delimiter.encode(), content):
        return quoting != "none"
    file = DelimitedLines(name, content, delimiter)
    evidence = QuotingEvidence(file, label_column)
    if quoting == "minimal":
        if file.unclosed is not None:
            raise UserError(f"{file.row_at(file.unclosed)} has a quotation mark that is not closed: {_MEND}", *_AS_TEXT)
        return True
    if file.unclosed is not None:
        return _refuse_unless_written_without_quoting(file, file.unclosed)
    unclear = evidence.fields_of_several_rows()
    if not unclear:
        return file.columns_fit_quoted or evidence.is_quoted_elsewhere(()) or file.misfit is not None
    if not evidence.is_quoted_elsewhere(unclear):
        if file.misfit is None and evidence.lines_are_rows(unclear):
            return False
    elif not evidence.lines_are_rows(unclear):
        return True
    lines = int(file.last_lines[unclear[0]] - file.first_lines[unclear[0]]) + 1
    raise UserError(
        f"{file.row_at(file.opens[unclear[0]])} is one text of {lines:,} lines in quotation marks, or {lines:,} rows of"
        " a file without quoting: say which with ",
        Setting("data.quoting", "minimal"),
        " or ",
        Setting("data.quoting", "none"),
    )


def quotes_enclose_in_blocks(
    name: str, header: bytes, blocks: Iterable[bytes], delimiter: str, quoting: Quoting
) -> bool | None:
    """Tells of a file in blocks what ``quotes_enclose`` tells of it whole, without a column of labels.

    Args:
        name: Name of the file in error messages.
        header: Its first row, a line.
        blocks: All of it, in blocks of whole rows.
        delimiter: What separates its columns.
        quoting: What the user says of it, ``auto`` or ``minimal``.

    Returns:
        True; None where only the whole file tells, as where marks stand within fields that none encloses.
    """
    fit, misfit = True, False
    try:
        for number, block in enumerate(blocks):
            content = block if not number else header + block
            if not well_formed(content, delimiter):
                return None
            if quoting == "minimal":
                continue
            part = DelimitedLines(name, content.lstrip(b"\r\n"), delimiter)
            if QuotingEvidence(part, None).fields_of_several_rows():
                return None
            fit &= part.columns_fit_quoted
            misfit |= part.misfit is not None
    except NoRow:
        return None
    return True if quoting == "minimal" or fit or misfit else None


_MEND = "close it, write each mark within a text twice"
_AS_TEXT = (", or take all marks as text with ", Setting("data.quoting", "none"))


def _refuse_unless_written_without_quoting(file: DelimitedLines, position: int) -> bool:
    """Returns False if an unclosed mark is one of a file without quoting; raises ``UserError`` if it is not."""
    delimiter = re.escape(file.delimiter.encode())
    escaped = rb'"(?:[^"\\\r\n]++|\\.|"")*+" *(?=%s|\r|\n|\Z)' % delimiter
    if re.compile(escaped).match(file.content, position):
        raise UserError(
            f"{file.row_at(position)} has quotation marks escaped with a backslash: write each mark within a text"
            " twice",
            *_AS_TEXT,
        )
    if file.misfit is not None:
        line, columns = file.misfit + 1, int(file.columns[file.misfit])
        raise UserError(
            f"{file.row_at(position)} has a quotation mark that is not closed, and read without quoting line {line}"
            f" has {columns} columns, not {file.columns[file.header]}: mend these lines"
        )
    opening = rb"(?:\A|(?<=[%s\r\n]))" % file.delimiter.encode()
    inside = rb'"((?:[^"%s\r\n]|"")*+)" *(?=%s|\r|\n|\Z)' % (delimiter, delimiter)
    enclosed = [(match.start(), b'"' in match[1]) for match in re.finditer(opening + inside, file.content)]
    lines = len(set(np.searchsorted(file.ends, [start for start, _ in enclosed]).tolist()))
    stray = len(re.findall(opening + b'"', file.content)) - len(enclosed)
    in_header = any(start < file.ends[file.header] for start, _ in enclosed)
    if in_header or 2 * lines > len(file.ends) or sum(doubled for _, doubled in enclosed) > stray:
        raise UserError(f"{file.row_at(position)} has a quotation mark that is not closed: {_MEND}", *_AS_TEXT)
    return False
