"""Cuts TensorBoard's events and the history to their state at a checkpoint, so that no step is logged twice."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.trackers import RunCSVLogger


class LogRewind(Callback):
    """Saves the lengths of the append-only logs in every checkpoint, and cuts the logs to them on a resume."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._leftovers: list[Path] = []

    def collect_leftovers(self) -> None:
        """Lists the logs that a killed process left; called before this process opens logs of its own."""
        self._leftovers = list(self._run.append_only_files())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Flushes the logs and saves their lengths."""
        for logger in trainer.loggers:
            logger.save()
        lengths = {path.name: path.stat().st_size for path in self._run.append_only_files()}
        checkpoint["peft_lightning_logs"] = lengths
        # A file of theirs is written again where a new column comes, so that its rows count and not its bytes.
        if rows := [logger.rows() for logger in trainer.loggers if isinstance(logger, RunCSVLogger)]:
            checkpoint["peft_lightning_rows"] = rows

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Cuts the logs of the killed process to the saved lengths."""
        if trainer.state.fn == "fit":
            self.rewind(checkpoint.get("peft_lightning_logs", {}))
            logs = [logger for logger in trainer.loggers if isinstance(logger, RunCSVLogger)]
            for logger, rows in zip(logs, checkpoint.get("peft_lightning_rows", []), strict=False):
                logger.cut(rows)

    def rewind(self, lengths: dict[str, int]) -> None:
        """Cuts the logs that a killed process left.

        Args:
            lengths: Bytes to keep by file name; a file that is not named is removed.
        """
        for path in self._leftovers:
            length = lengths.get(path.name, 0)
            if length == 0:
                path.unlink(missing_ok=True)
            elif path.stat().st_size > length:
                os.truncate(path, length)
        self._leftovers = []
