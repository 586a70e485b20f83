"""The history of a run, ``history.csv``: a logger that writes one CSV row for each figure."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from peft_lightning.runs.directory import RunDirectory

COLUMNS = ("step", "name", "value")


class History(Logger):
    """Appends every logged scalar to ``RUN_DIR/history.csv`` as ``step, name, value``, readable without TensorBoard.

    Args:
        run: The run whose history it is.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self._run = run
        self._file: IO[str] | None = None

    @property
    def name(self) -> str:
        """The logger's name."""
        return "history"

    @property
    def version(self) -> int:
        """The run's version."""
        return self._run.version

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends figures.

        Args:
            metrics: Values by name.
            step: The optimiser step at which they were measured.
        """
        rows = [(step, name, repr(float(value))) for name, value in metrics.items() if name != "epoch"]
        file = self._open(self._run.history)
        csv.writer(file, lineterminator="\n").writerows(rows)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration lies beside the history in ``config.yaml``."""

    @rank_zero_only
    def save(self) -> None:
        """Flushes what is logged so far to the file."""
        if self._file is not None:
            self._file.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> IO[str]:
        if self._file is None:
            new = not path.exists() or path.stat().st_size == 0
            self._file = path.open("a", encoding="utf-8", newline="")
            if new:
                csv.writer(self._file, lineterminator="\n").writerow(COLUMNS)
        return self._file
