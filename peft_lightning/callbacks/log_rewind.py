"""Rewinds TensorBoard's events and the history to where a checkpoint was, so that no step shows twice."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.runs.directory import RunDirectory


class LogRewind(Callback):
    """Notes in every checkpoint how long the append-only logs are, and cuts them there when a run is resumed.

    Args:
        run: The run whose logs they are.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._leftovers: list[Path] = []

    def collect_leftovers(self) -> None:
        """Notes which logs a killed process left; called before this process opens logs of its own."""
        self._leftovers = list(self._run.append_only_files())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Brings the logs to disk and notes their lengths."""
        for logger in trainer.loggers:
            logger.save()
        lengths = {path.name: path.stat().st_size for path in self._run.append_only_files()}
        checkpoint["peft_lightning_logs"] = lengths

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Cuts the logs that were there before to the lengths noted."""
        if trainer.state.fn == "fit":
            self.rewind(checkpoint.get("peft_lightning_logs", {}))

    def rewind(self, lengths: dict[str, int]) -> None:
        """Cuts what a killed process left.

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
