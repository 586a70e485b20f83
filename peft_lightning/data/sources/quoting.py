"""Decides whether the fields of a delimited file stand in quotation marks, or the marks are part of the texts.

A quotation mark at a field's start opens a quoted field in a file that was written with quoting (RFC 4180): up to the
closing mark, tabs and line ends belong to the text. In a file that was written without (the TSVs of GLUE, tweets) it is
a character like any other, and reading it as an opening mark swallows the rows up to the next one.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.sources.large_tables import NoRow
from peft_lightning.data.sources.quoted_fields import QUOTE, Positions, find_quoted_fields, well_formed
from peft_lightning.errors import Setting, UserError

Quoting = Literal["auto", "minimal", "none"]

_LF, _CR = b"\n"[0], b"\r"[0]
# So many rows show what the labels of a file look like.
_ROWS_LOOKED_AT = 10_000


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
    file = _File(name, content, delimiter, label_column)
    if quoting == "minimal":
        if file.unclosed is not None:
            raise UserError(f"{file.row_at(file.unclosed)} has a quotation mark that is not closed: {_MEND}", *_AS_TEXT)
        return True
    if file.unclosed is not None:
        return file.refuse_unless_written_without_quoting(file.unclosed)
    unclear = file.fields_of_several_rows()
    if not unclear:
        return file.columns_fit_quoted or file.is_quoted_elsewhere(()) or file.misfit is not None
    if not file.is_quoted_elsewhere(unclear):
        if file.misfit is None and file.lines_are_rows(unclear):
            return False
    elif not file.lines_are_rows(unclear):
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
            part = _File(name, content.lstrip(b"\r\n"), delimiter, None)
            if part.fields_of_several_rows():
                return None
            fit &= part.columns_fit_quoted
            misfit |= part.misfit is not None
    except NoRow:
        return None
    return True if quoting == "minimal" or fit or misfit else None


_MEND = "close it, write each mark within a text twice"
_AS_TEXT = (", or take all marks as text with ", Setting("data.quoting", "none"))


@dataclass(frozen=True)
class _File:
    """A delimited file with its quoted fields and its lines; a line's columns are counted as without quoting."""

    name: str
    content: bytes
    delimiter: str
    label_column: str | None

    # Quoted fields.

    @cached_property
    def _scan(self) -> tuple[Positions, Positions, int | None]:
        return find_quoted_fields(self.content, self.delimiter)

    @property
    def opens(self) -> Positions:
        """Positions of the opening marks of quoted fields."""
        return self._scan[0]

    @property
    def closes(self) -> Positions:
        """Positions of their closing marks."""
        return self._scan[1]

    @property
    def unclosed(self) -> int | None:
        """Position of the first opening mark that is not closed at the end of a field."""
        return self._scan[2]

    @cached_property
    def first_lines(self) -> Positions:
        """The line in which each quoted field begins."""
        return np.searchsorted(self._ends, self.opens)

    @cached_property
    def last_lines(self) -> Positions:
        """The line in which each quoted field ends."""
        return np.searchsorted(self._ends, self.closes)

    # Lines.

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.content, dtype=np.uint8)

    @cached_property
    def _ends(self) -> Positions:
        """Position of each line's end: of LF, of a CR without LF, or of the file's end."""
        ends = self._bytes == _LF
        lone = np.flatnonzero(self._bytes == _CR)
        lone = lone[~ends[np.minimum(lone + 1, len(ends) - 1)]]
        return np.union1d(np.flatnonzero(ends), np.append(lone, len(ends)))

    @cached_property
    def _starts(self) -> Positions:
        return np.append(0, self._ends[:-1] + 1)

    @cached_property
    def _delimiters(self) -> Positions:
        return np.flatnonzero(self._bytes == ord(self.delimiter))

    @cached_property
    def _columns(self) -> Positions:
        """Number of columns of each line as without quoting; 0 for a blank line."""
        blank = self._ends - self._starts < 1
        full = np.flatnonzero(~blank)
        blank[full] = (self._ends[full] - self._starts[full] == 1) & (self._bytes[self._starts[full]] == _CR)
        before = np.searchsorted(self._delimiters, np.stack([self._starts, self._ends]))
        return np.where(blank, 0, before[1] - before[0] + 1)

    @cached_property
    def _header(self) -> int:
        return int(np.flatnonzero(self._columns)[0])

    @cached_property
    def misfit(self) -> int | None:
        """The first line that has not the header's number of columns as without quoting."""
        misfits = np.flatnonzero((self._columns != self._columns[self._header]) & (self._columns > 0))
        return int(misfits[0]) if len(misfits) else None

    def row_at(self, position: int) -> str:
        """Names the row at a position, with the line in which an editor finds it."""
        line = int(np.searchsorted(self._ends, position))
        row = int((~self._within_quotes(self._ends[:line]) & (self._columns[:line] > 0)).sum())
        return f"row {row} of {self.name} (line {line + 1})" if row > 0 else f"the header of {self.name}"

    # Which reading fits.

    def _within_quotes(self, positions: Positions) -> NDArray[np.bool_]:
        field = np.searchsorted(self.opens, positions) - 1
        within: NDArray[np.bool_] = field >= 0
        within[within] = positions[within] < self.closes[field[within]]
        return within

    @cached_property
    def columns_fit_quoted(self) -> bool:
        """Whether every row has the header's number of columns as with quoting."""
        ends = self._ends[~self._within_quotes(self._ends)]
        delimiters = self._delimiters[~self._within_quotes(self._delimiters)]
        before = np.searchsorted(delimiters, np.stack([np.append(0, ends[:-1] + 1), ends]))
        columns = (before[1] - before[0] + 1)[self._columns[np.searchsorted(self._ends, ends)] > 0]
        return bool((columns == columns[0]).all())

    def refuse_unless_written_without_quoting(self, position: int) -> bool:
        """Returns False if an unclosed mark is one of a file without quoting; raises ``UserError`` if it is not."""
        delimiter = re.escape(self.delimiter.encode())
        escaped = rb'"(?:[^"\\\r\n]++|\\.|"")*+" *(?=%s|\r|\n|\Z)' % delimiter
        if re.compile(escaped).match(self.content, position):
            raise UserError(
                f"{self.row_at(position)} has quotation marks escaped with a backslash: write each mark within a text"
                " twice",
                *_AS_TEXT,
            )
        if self.misfit is not None:
            line, columns = self.misfit + 1, int(self._columns[self.misfit])
            raise UserError(
                f"{self.row_at(position)} has a quotation mark that is not closed, and read without quoting line {line}"
                f" has {columns} columns, not {self._columns[self._header]}: mend these lines"
            )
        opening = rb"(?:\A|(?<=[%s\r\n]))" % self.delimiter.encode()
        inside = rb'"((?:[^"%s\r\n]|"")*+)" *(?=%s|\r|\n|\Z)' % (delimiter, delimiter)
        enclosed = [(match.start(), b'"' in match[1]) for match in re.finditer(opening + inside, self.content)]
        lines = len(set(np.searchsorted(self._ends, [start for start, _ in enclosed]).tolist()))
        stray = len(re.findall(opening + b'"', self.content)) - len(enclosed)
        in_header = any(start < self._ends[self._header] for start, _ in enclosed)
        if in_header or 2 * lines > len(self._ends) or sum(doubled for _, doubled in enclosed) > stray:
            raise UserError(f"{self.row_at(position)} has a quotation mark that is not closed: {_MEND}", *_AS_TEXT)
        return False

    def fields_of_several_rows(self) -> list[int]:
        """Finds the quoted fields most of whose lines, blank ones aside, look like rows as without quoting."""
        several = np.flatnonzero(self.first_lines != self.last_lines)
        like_rows = np.append(0, np.cumsum(self._columns == self._columns[self._header]))
        full = np.append(0, np.cumsum(self._columns > 0))
        first, end = self._telling_lines(several)
        found: list[int] = several[2 * (like_rows[end] - like_rows[first]) > full[end] - full[first]].tolist()
        if self._label_position is None:
            return found
        return [field for field in found if self._share_with_labels(field)[1] > 0.5]

    def lines_are_rows(self, fields: list[int]) -> bool:
        """Tells whether most lines of one of these fields can hardly be anything but rows."""
        if self._label_position is None:
            # Few texts have tabs in most of their lines, and as many in each as the file has between its columns.
            return self.delimiter == "\t" and self._columns[self._header] > 1
        return any(self._share_with_labels(field)[0] > 0.5 for field in fields)

    def is_quoted_elsewhere(self, but: list[int] | tuple[()]) -> bool:
        """Tells whether other fields than these show that the file was written with quoting."""
        others = np.setdiff1d(np.arange(len(self.opens)), but)
        if not len(others):
            return False
        opens, closes, first, last = (a[others] for a in (self.opens, self.closes, self.first_lines, self.last_lines))
        quotes = np.flatnonzero(self._bytes == QUOTE)
        doubled = np.searchsorted(quotes, closes) - np.searchsorted(quotes, opens) > 1
        misfit = (self._columns[first] != self._columns[self._header]) | (first != last)
        rows = len(self._ends) - sum(int(self.last_lines[f] - self.first_lines[f]) + 1 for f in but)
        return bool(
            doubled.any() or misfit.any() or first[0] == self._header or 2 * len(np.unique(first)) > max(1, rows - 1)
        )

    def _telling_lines(self, fields: Positions) -> tuple[Positions, Positions]:
        """Finds the lines, from one to before another, that tell a text from rows.

        The last line of a field ends as its row does, and the first one of a row's last field begins as its row does:
        these have the right number of columns in either case.
        """
        after = self.closes[fields] + 1
        ends_row = np.isin(self._bytes[np.minimum(after, len(self._bytes) - 1)], (_LF, _CR)) | (
            after >= len(self._bytes)
        )
        return self.first_lines[fields] + ends_row, self.last_lines[fields] + ends_row

    @cached_property
    def _label_position(self) -> int | None:
        header = next(csv.reader([self._line(self._header)], delimiter=self.delimiter))
        return header.index(self.label_column) if self.label_column in header else None

    def _line(self, line: int) -> str:
        return self.content[self._starts[line] : self._ends[line]].decode().removesuffix("\r")

    def _label(self, line: int) -> str:
        return self._line(line).split(self.delimiter)[self._label_position or 0]

    def _share_with_labels(self, field: int) -> tuple[float, float]:
        """Returns the shares of a field's lines whose label other rows have too, and whose label could be one."""
        known, numeric, spaced = self._known_labels
        first, end = self._telling_lines(np.array([field]))
        lines = [line for line in range(int(first[0]), int(end[0])) if self._columns[line]]
        labels = [self._label(line) for line in lines if self._columns[line] == self._columns[self._header]]
        same = sum(label in known for label in labels)
        alike = sum(_is_number(label) if numeric else spaced or label == label.strip() != "" for label in labels)
        return same / len(lines), max(same, alike) / len(lines)

    @cached_property
    def _known_labels(self) -> tuple[set[str], bool, bool]:
        """The labels of rows of one line, whether all are numbers, and whether some begin or end with a blank."""
        fits = self._columns == self._columns[self._header]
        fits[: self._header + 1] = False
        # A row of several lines begins in a line whose end is quoted, and ends in one whose beginning is.
        fits &= ~self._within_quotes(self._ends) & ~self._within_quotes(self._starts - 1)
        lines = np.flatnonzero(fits)[:_ROWS_LOOKED_AT]
        known = {self._label(line).strip('"') for line in lines.tolist()}
        return known, all(map(_is_number, known)), any(label != label.strip() for label in known)


def _is_number(label: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d*)?", label))
