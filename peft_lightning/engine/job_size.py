"""The size of a job: preparations such as compiling pay off in long jobs, not in short ones."""

from __future__ import annotations

from typing import NamedTuple

from lightning.pytorch import Trainer

from peft_lightning.engine.training_data import training_data
from peft_lightning.optim.steps import planned_steps


class JobSize(NamedTuple):
    """The number of training batches, and layers x width x tokens of the widest; 0 where the data do not say."""

    batches: int
    activations: int


def job_size(trainer: Trainer) -> JobSize:
    """Returns the size of a Trainer's job before it begins."""
    data = training_data(trainer)
    if data is None:
        return JobSize(0, 0)
    widest = data.widest_training_batch()
    config = getattr(trainer.lightning_module.model, "config", None)
    # From the configuration: ALBERT's kin run one layer several times, so counting modules would count too few.
    size = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    steps = planned_steps(trainer, data.batches_per_epoch())
    return JobSize(steps * trainer.accumulate_grad_batches, size * widest["input_ids"].numel())
