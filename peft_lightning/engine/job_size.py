"""How large a job is: what is worth preparing for long ones, such as compiling, is not for short ones."""

from __future__ import annotations

from typing import NamedTuple

from lightning.pytorch import Trainer

from peft_lightning.engine.training_data import training_data
from peft_lightning.optim.steps import planned_steps


class JobSize(NamedTuple):
    """Training batches of a job, and layers x width x tokens of the widest; 0 where its data do not say."""

    batches: int
    activations: int


def job_size(trainer: Trainer) -> JobSize:
    """Measures a job before it begins.

    Args:
        trainer: the Trainer.
    """
    data = training_data(trainer)
    if data is None:
        return JobSize(0, 0)
    widest = data.widest_training_batch()
    config = getattr(trainer.lightning_module.model, "config", None)
    # Some networks use one layer again and again.
    size = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    steps = planned_steps(trainer, data.batches_per_epoch())
    return JobSize(steps * trainer.accumulate_grad_batches, size * widest["input_ids"].numel())
