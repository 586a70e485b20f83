"""What an engine needs to know of the data that a run trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer

from peft_lightning.engine.micro_batches import Batch


@runtime_checkable
class TrainingData(Protocol):
    """A data module that knows its batches before they come."""

    @property
    def batch_size(self) -> int:
        """Examples in a training batch, of one device."""
        ...

    def batches_per_epoch(self) -> int:
        """Returns how many batches the training loader yields in an epoch, without any limit of the Trainer's."""
        ...

    def widest_training_batch(self) -> Batch:
        """Returns the batch that takes the most memory; it need not be one that comes."""
        ...

    def coming_shapes(self) -> Sequence[Batch]:
        """Returns a batch of every shape that this epoch's batches have, the largest first."""
        ...


def training_data(trainer: Trainer) -> TrainingData | None:
    """Returns a Trainer's data where they know their batches, and None where they do not.

    Args:
        trainer: the Trainer.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, TrainingData) else None
