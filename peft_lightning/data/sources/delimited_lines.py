"""The lines of a delimited file, and its fields in quotation marks: which columns, rows and header follow from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.sources.quoted_fields import Positions, find_quoted_fields

LF, CR = b"\n"[0], b"\r"[0]


@dataclass(frozen=True)
class DelimitedLines:
    """A delimited file with its quoted fields and its lines; a line's columns are counted as without quoting.

    Args:
        name: Name of the file in error messages.
        content: The file, in UTF-8.
        delimiter: What separates its columns.
    """

    name: str
    content: bytes
    delimiter: str

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
        return np.searchsorted(self.ends, self.opens)

    @cached_property
    def last_lines(self) -> Positions:
        """The line in which each quoted field ends."""
        return np.searchsorted(self.ends, self.closes)

    # Lines.

    @cached_property
    def byte_values(self) -> NDArray[np.uint8]:
        """All bytes of the file, shape (n,)."""
        return np.frombuffer(self.content, dtype=np.uint8)

    @cached_property
    def ends(self) -> Positions:
        """Position of each line's end: of LF, of a CR without LF, or of the file's end."""
        ends = self.byte_values == LF
        lone = np.flatnonzero(self.byte_values == CR)
        lone = lone[~ends[np.minimum(lone + 1, len(ends) - 1)]]
        return np.union1d(np.flatnonzero(ends), np.append(lone, len(ends)))

    @cached_property
    def starts(self) -> Positions:
        """Position of each line's beginning."""
        return np.append(0, self.ends[:-1] + 1)

    @cached_property
    def _delimiters(self) -> Positions:
        return np.flatnonzero(self.byte_values == ord(self.delimiter))

    @cached_property
    def columns(self) -> Positions:
        """Number of columns of each line as without quoting; 0 for a blank line."""
        blank = self.ends - self.starts < 1
        full = np.flatnonzero(~blank)
        blank[full] = (self.ends[full] - self.starts[full] == 1) & (self.byte_values[self.starts[full]] == CR)
        before = np.searchsorted(self._delimiters, np.stack([self.starts, self.ends]))
        return np.where(blank, 0, before[1] - before[0] + 1)

    @cached_property
    def header(self) -> int:
        """The line that is the header: the first that is not blank."""
        return int(np.flatnonzero(self.columns)[0])

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """Which lines have the header's number of columns as without quoting."""
        fits: NDArray[np.bool_] = self.columns == self.columns[self.header]
        return fits

    @cached_property
    def misfit(self) -> int | None:
        """The first line that has not the header's number of columns as without quoting."""
        misfits = np.flatnonzero(~self.fits & (self.columns > 0))
        return int(misfits[0]) if len(misfits) else None

    def row_at(self, position: int) -> str:
        """Names the row at a position, with the line in which an editor finds it."""
        line = int(np.searchsorted(self.ends, position))
        row = int((~self.within_quotes(self.ends[:line]) & (self.columns[:line] > 0)).sum())
        return f"row {row} of {self.name} (line {line + 1})" if row > 0 else f"the header of {self.name}"

    def within_quotes(self, positions: Positions) -> NDArray[np.bool_]:
        """Tells of each position whether it lies in a quoted field."""
        field = np.searchsorted(self.opens, positions) - 1
        within: NDArray[np.bool_] = field >= 0
        within[within] = positions[within] < self.closes[field[within]]
        return within

    @cached_property
    def columns_fit_quoted(self) -> bool:
        """Whether every row has the header's number of columns as with quoting."""
        ends = self.ends[~self.within_quotes(self.ends)]
        delimiters = self._delimiters[~self.within_quotes(self._delimiters)]
        before = np.searchsorted(delimiters, np.stack([np.append(0, ends[:-1] + 1), ends]))
        columns = (before[1] - before[0] + 1)[self.columns[np.searchsorted(self.ends, ends)] > 0]
        return bool((columns == columns[0]).all())

    def text_of(self, line: int) -> str:
        """Returns a line without its end."""
        return self.content[self.starts[line] : self.ends[line]].decode().removesuffix("\r")
