"""Ends a run whose batch size, accumulation or learning rate a callback has changed behind its record."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.engine.training_data import training_data
from peft_lightning.errors import UserError


class UnchangedSettings(Callback):
    """Compares at each epoch's start, and at the end, the settings that the record states with those of its start.

    Lightning's own callbacks that change them are refused before; this finds any other that does.
    """

    def __init__(self) -> None:
        self._stated: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reads the settings."""
        if stage == "fit":
            self._stated = _settings(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares the settings."""
        self._compare(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares the settings."""
        self._compare(trainer, pl_module)

    def _compare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, value in _settings(trainer, pl_module).items():
            if value != self._stated.get(name, value):
                raise UserError(
                    f"a callback has changed {name} from {self._stated[name]} to {value}, and the record says"
                    f" {self._stated[name]}: leave the callback out and set --{name}"
                )


def _settings(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    data = training_data(trainer)
    return {
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "model.learning_rate": getattr(pl_module, "learning_rate", None),
        "data.batch_size": data.batch_size if data is not None else None,
    }
