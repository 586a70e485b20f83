"""How large a job is: what is worth preparing for long ones, such as compiling, is not for short ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from lightning.pytorch import Trainer

from peft_lightning.engine.pieces import Batch
from peft_lightning.optim.optimizers import count_optimizer_steps


class JobSize(NamedTuple):
    """Training batches of a job, and layers x width x tokens of the widest; 0 where its data do not say."""

    batches: int
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
    config = getattr(module.model, "config", None)
    # Some networks use one layer again and again.
    size = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    steps = count_optimizer_steps(trainer, len(trainer.datamodule.train_dataloader()))  # type: ignore[attr-defined]
    return JobSize(steps * trainer.accumulate_grad_batches, size * widest["input_ids"].numel())


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
