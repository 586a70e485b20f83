"""Counts the parameters that a method trains, adapter and head separately."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.methods.parameters import ParameterCounts, count_parameters


class ParameterCount(Callback):
    """Counts trainable, adapter and head parameters, and all parameters of the original model."""

    section = "params"

    def __init__(self) -> None:
        self._counts: ParameterCounts | None = None

    def figures(self) -> Mapping[str, Any]:
        """Returns the record's ``params`` section."""
        return dataclasses.asdict(self._counts) if self._counts is not None else {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts parameters and logs the counts."""
        model = pl_module.model
        self._counts = count_parameters(model)  # type: ignore[arg-type]
        figures = {f"params/{name}": float(value) for name, value in self.figures().items()}
        if trainer.global_step == 0 and not trainer.ckpt_path:
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=0)
