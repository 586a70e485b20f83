"""The interface of a data module that an engine can plan with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer

from peft_lightning.engine.micro_batches import Batch


@runtime_checkable
class TrainingData(Protocol):
    """A data module that knows the shapes of its batches in advance."""

    @property
    def batch_size(self) -> int:
        """The number of examples in a training batch on one device."""
        ...

    def batches_per_epoch(self) -> int:
        """Returns the number of batches that the training loader yields in an epoch, before the Trainer's limits."""
        ...

    def widest_training_batch(self) -> Batch:
        """Returns the batch that takes the most memory; it need not be one that is trained on."""
        ...

    def coming_shapes(self) -> Sequence[Batch]:
        """Returns a batch of every shape that this epoch has, the largest first."""
        ...


def training_data(trainer: Trainer) -> TrainingData | None:
    """Returns a Trainer's data module, or None where it does not know its batches in advance."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, TrainingData) else None
