"""Loggers of the user's own, such as CSVLogger or W&B: where they write."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

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

    def at(self, folder: Path) -> Logger:
        """Returns the logger that writes into a folder, unless the settings name another place.

        Args:
            folder: The run's directory.
        """
        kind = type(self.logger)
        arguments = {name: _placed(value, folder) for name, value in self.arguments.items()}
        default = inspect.signature(kind).parameters.get("save_dir")
        if default is not None and default.default == "." and arguments.get("save_dir") in (".", None):
            arguments["save_dir"] = str(folder)  # W&B would write beside whatever lies in the working directory
        if arguments == dict(self.arguments):
            return self.logger
        return kind(**arguments)


def user_loggers(loggers: Sequence[Logger]) -> list[Logger]:
    """Returns the loggers that the settings name."""
    return [logger for logger in loggers if not _is_own(logger)]


def _is_own(logger: Logger) -> bool:
    return type(logger).__module__.startswith("peft_lightning.")


def _placed(value: Any, folder: Path) -> Any:
    return value.replace(RUN_DIR, str(folder)) if isinstance(value, str) else value
