"""What the lines of a delimited file tell of how it was written: with its texts in quotation marks, or without."""

import csv
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from peft_lightning.data.sources.delimited_lines import CR, LF, DelimitedLines
from peft_lightning.data.sources.quoted_fields import QUOTE, Positions

# So many rows show what the labels of a file look like.
_ROWS_LOOKED_AT = 10_000


@dataclass(frozen=True)
class QuotingEvidence:
    """What tells the quoted fields of a file from rows without quoting: columns, labels and other fields.

    Args:
        file: The file.
        label_column: Column of labels, which tell rows from the lines of a text; None if there is none.
    """

    file: DelimitedLines
    label_column: str | None

    def fields_of_several_rows(self) -> list[int]:
        """Finds the quoted fields most of whose lines, blank ones aside, look like rows as without quoting."""
        several = np.flatnonzero(self.file.first_lines != self.file.last_lines)
        like_rows = np.append(0, np.cumsum(self.file.fits))
        full = np.append(0, np.cumsum(self.file.columns > 0))
        first, end = self._telling_lines(several)
        found: list[int] = several[2 * (like_rows[end] - like_rows[first]) > full[end] - full[first]].tolist()
        if self._label_position is None:
            return found
        return [field for field in found if self._share_with_labels(field)[1] > 0.5]

    def lines_are_rows(self, fields: list[int]) -> bool:
        """Tells whether most lines of one of these fields can hardly be anything but rows."""
        if self._label_position is None:
            # Few texts have tabs in most of their lines, and as many in each as the file has between its columns.
            return self.file.delimiter == "\t" and self.file.columns[self.file.header] > 1
        return any(self._share_with_labels(field)[0] > 0.5 for field in fields)

    def is_quoted_elsewhere(self, but: list[int] | tuple[()]) -> bool:
        """Tells whether other fields than these show that the file was written with quoting."""
        file = self.file
        others = np.setdiff1d(np.arange(len(file.opens)), but)
        if not len(others):
            return False
        opens, closes, first, last = (a[others] for a in (file.opens, file.closes, file.first_lines, file.last_lines))
        quotes = np.flatnonzero(file.byte_values == QUOTE)
        doubled = np.searchsorted(quotes, closes) - np.searchsorted(quotes, opens) > 1
        misfit = ~file.fits[first] | (first != last)
        rows = len(file.ends) - sum(int(file.last_lines[f] - file.first_lines[f]) + 1 for f in but)
        return bool(
            doubled.any() or misfit.any() or first[0] == file.header or 2 * len(np.unique(first)) > max(1, rows - 1)
        )

    def _telling_lines(self, fields: Positions) -> tuple[Positions, Positions]:
        """Finds the lines, from one to before another, that tell a text from rows.

        The last line of a field ends as its row does, and the first one of a row's last field begins as its row does:
        these have the right number of columns in either case.
        """
        values, after = self.file.byte_values, self.file.closes[fields] + 1
        ends_row = np.isin(values[np.minimum(after, len(values) - 1)], (LF, CR)) | (after >= len(values))
        return self.file.first_lines[fields] + ends_row, self.file.last_lines[fields] + ends_row

    @cached_property
    def _label_position(self) -> int | None:
        header = next(csv.reader([self.file.text_of(self.file.header)], delimiter=self.file.delimiter))
        return header.index(self.label_column) if self.label_column in header else None

    def _label(self, line: int) -> str:
        return self.file.text_of(line).split(self.file.delimiter)[self._label_position or 0]

    def _share_with_labels(self, field: int) -> tuple[float, float]:
        """Returns the shares of a field's lines whose label other rows have too, and whose label could be one."""
        known, numeric, spaced = self._known_labels
        first, end = self._telling_lines(np.array([field]))
        lines = [line for line in range(int(first[0]), int(end[0])) if self.file.columns[line]]
        labels = [self._label(line) for line in lines if self.file.fits[line]]
        same = sum(label in known for label in labels)
        alike = sum(_is_number(label) if numeric else spaced or label == label.strip() != "" for label in labels)
        return same / len(lines), max(same, alike) / len(lines)

    @cached_property
    def _known_labels(self) -> tuple[set[str], bool, bool]:
        """The labels of rows of one line, whether all are numbers, and whether some begin or end with a blank."""
        fits = self.file.fits.copy()
        fits[: self.file.header + 1] = False
        # A row of several lines begins in a line whose end is quoted, and ends in one whose beginning is.
        fits &= ~self.file.within_quotes(self.file.ends) & ~self.file.within_quotes(self.file.starts - 1)
        lines = np.flatnonzero(fits)[:_ROWS_LOOKED_AT]
        known = {self._label(line).strip('"') for line in lines.tolist()}
        return known, all(map(_is_number, known)), any(label != label.strip() for label in known)


def _is_number(label: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d*)?", label))
