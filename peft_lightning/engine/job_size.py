"""How large a job is: what is worth preparing for long ones, such as compiling, is not for short ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from lightning.pytorch import Trainer

from peft_lightning.engine.compilation import repeated_layers
from peft_lightning.engine.pieces import Batch
from peft_lightning.model.optimizers import count_optimizer_steps


class JobSize(NamedTuple):
    """Optimiser steps of a job, and layers x width x tokens of its widest batch; 0 where its data do not say."""

    steps: int
    activations: int


def job_size(trainer: Trainer) -> JobSize:
    """Measures a job before it begins.

    Args:
        trainer: the Trainer.
    """
    widest = widest_batch(trainer)
    if widest is None:
        return JobSize(0, 0)
    module = trainer.lightning_module
    layers = len(repeated_layers(module))
    width = getattr(getattr(module.model, "config", None), "hidden_size", 0)
    steps = count_optimizer_steps(trainer, len(trainer.datamodule.train_dataloader()))  # type: ignore[attr-defined]
    return JobSize(steps, layers * width * widest["input_ids"].numel())


def widest_batch(trainer: Trainer) -> Batch | None:
    """Returns the widest batch there will be; None where the data do not say.

    Args:
        trainer: the Trainer.
    """
    widest: Batch | None = said_by_data(trainer, "widest_training_batch")
    return widest


def said_by_data(trainer: Trainer, what: str) -> Any:
    """Asks a data module what it knows of its batches; None where it is one that does not say.

    Args:
        trainer: the Trainer.
        what: the method that says it.
    """
    say = getattr(trainer.datamodule, what, None)  # type: ignore[attr-defined]
    return None if say is None else say()
