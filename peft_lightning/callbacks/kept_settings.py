"""Saves in checkpoints the settings and the data that they were trained with, so that a run can compare its own."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

SECTION = "peft_lightning_settings"


class KeptSettings(Callback):
    """Saves a run's settings and the fingerprint of its data in every checkpoint that training can go on from.

    Args:
        settings: Plain values by dotted name, as ``continuation.settings_of`` returns them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves the settings and the fingerprint."""
        description = trainer.datamodule.description()  # type: ignore[attr-defined]
        checkpoint[SECTION] = {"settings": self._settings, "fingerprint": description["fingerprint"]}
