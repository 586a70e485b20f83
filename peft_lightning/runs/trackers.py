"""Loggers of the user's own, such as CSVLogger or W&B: where they write, and what of it a resumed run keeps."""

from __future__ import annotations

import csv
import inspect
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from peft_lightning.runs.files import write_atomically

# Stands in settings for the run's directory, which is made after the settings are read.
RUN_DIR = "RUN_DIR"


@dataclass(frozen=True)
class Tracker:
    """A logger that the settings name.

    Args:
        logger: The logger as the settings make it; it has written nothing.
        arguments: The arguments that it was made with.
    """

    logger: Logger
    arguments: Mapping[str, Any]

    def at(self, folder: Path, goes_on: bool = False) -> Logger:
        """Returns the logger that writes into a folder, unless the settings name another place.

        Args:
            folder: The run's directory.
            goes_on: Whether the run goes on from a checkpoint in that directory.
        """
        kind = type(self.logger)
        arguments = {name: _placed(value, folder) for name, value in self.arguments.items()}
        default = inspect.signature(kind).parameters.get("save_dir")
        if default is not None and default.default == "." and arguments.get("save_dir") in (".", None):
            arguments["save_dir"] = str(folder)  # W&B would write beside whatever lies in the working directory
        if arguments == dict(self.arguments):
            return self.logger
        return RunCSVLogger(goes_on, **arguments) if kind is CSVLogger else kind(**arguments)


class _KeepingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Keeps the rows that are there, which Lightning's writer deletes."""


class RunCSVLogger(CSVLogger):
    """Lightning's CSV logger, which keeps what an earlier process of the same run has written.

    Args:
        goes_on: Whether the run goes on from a checkpoint; otherwise an earlier file is replaced, as by Lightning's.
        settings: The arguments of Lightning's logger.
    """

    def __init__(self, goes_on: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._goes_on = goes_on

    @property
    def file(self) -> Path:
        """The file of the rows."""
        return Path(self.log_dir) / "metrics.csv"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the rows."""
        if self._experiment is not None:
            return self._experiment
        if not (self._goes_on and self.file.is_file()):
            return super().experiment
        self._experiment = _KeepingWriter(self.log_dir)
        self._experiment.metrics_keys = self._read()[0]
        return self._experiment

    def rows(self) -> int:
        """Returns how many rows are on disk."""
        return max(0, len(self._read()) - 1)

    def cut(self, rows: int) -> None:
        """Keeps the first rows of the file, those up to a checkpoint.

        Args:
            rows: How many.
        """
        table = self._read()
        if len(table) > rows + 1:
            text = io.StringIO(newline="")
            csv.writer(text).writerows(table[: rows + 1])
            write_atomically(self.file, text.getvalue().encode())

    def _read(self) -> list[list[str]]:
        if not self.file.is_file():
            return []
        with self.file.open(newline="") as file:
            return list(csv.reader(file))


def user_loggers(loggers: Sequence[Logger]) -> list[Logger]:
    """Returns the loggers that the settings name."""
    return [logger for logger in loggers if isinstance(logger, RunCSVLogger) or not _is_own(logger)]


def _is_own(logger: Logger) -> bool:
    return type(logger).__module__.startswith("peft_lightning.")


def _placed(value: Any, folder: Path) -> Any:
    return value.replace(RUN_DIR, str(folder)) if isinstance(value, str) else value
