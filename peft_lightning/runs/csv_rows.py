"""The rows of Lightning's ``CSVLogger``, kept over a resume."""

import csv
import io
import os
from pathlib import Path

from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from peft_lightning.runs.files import write_atomically


class KeptRows(ExperimentWriter):
    """Writes a ``CSVLogger``'s ``metrics.csv``, and goes on with one that a killed process left.

    Lightning's own writer deletes the file of an earlier process, and a process that is killed while a new column is
    added loses all rows.

    Args:
        folder: The logger's folder.
        kept: The number of rows to go on after; None to begin anew, as Lightning does.
    """

    def __init__(self, folder: str, kept: int | None = None) -> None:
        self._kept = kept
        super().__init__(log_dir=folder)
        self._written = 0
        if kept is not None:
            self._written = self._cut(kept)

    @property
    def written(self) -> int:
        """The number of rows in the file."""
        return self._written

    def save(self) -> None:
        """Appends the rows logged since the last call."""
        self._written += len(self.metrics)
        super().save()

    def _check_log_dir_exists(self) -> None:
        if self._kept is None:
            super()._check_log_dir_exists()

    def _cut(self, kept: int) -> int:
        """Cuts the file to its first rows, without columns that none of them has."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return 0
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row, _ in zip(csv.DictReader(file), range(kept), strict=False)]
        if not rows:
            path.unlink()
            return 0
        self.metrics_keys = [name for name in rows[0] if any(row[name] for row in rows)]
        _write(path, self.metrics_keys, rows)
        return len(rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        _write(path, fieldnames, rows)


def is_local(folder: str | os.PathLike[str]) -> bool:
    """Tells whether a logger's folder is on a disk of this machine, not a bucket."""
    return "://" not in os.fspath(folder)


def _write(path: Path, fieldnames: list[str], rows: list[dict[str, str]]) -> None:
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, fieldnames=fieldnames, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, content.getvalue().encode())
