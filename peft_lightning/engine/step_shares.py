"""Weighs the batches of one optimiser step by their examples, so that the step is that of one undivided batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer


@runtime_checkable
class KnownBatches(Protocol):
    """A data module that knows the sizes of an epoch's batches in advance; processes may have uneven shares of them."""

    def batch_sizes(self) -> Sequence[Sequence[int]] | None:
        """Returns the number of examples in each batch of this epoch, for each process; None if it cannot be known."""
        ...


def known_batch_sizes(trainer: Trainer) -> Sequence[Sequence[int]] | None:
    """Returns the number of examples in each batch of this epoch, for each process; None if it cannot be known.

    Args:
        trainer: The Trainer, with its data module.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data.batch_sizes() if isinstance(data, KnownBatches) else None


def share_of_step(trainer: Trainer, examples: int | None = None) -> float:
    """Returns what the loss of a batch is multiplied by, beside Lightning's division by ``accumulate_grad_batches``.

    An undivided batch has the mean loss of its examples. Lightning divides the mean losses of a step's batches by the
    number that a step should have, so the last step of an epoch is too small where it has fewer batches, and the
    examples of a smaller batch weigh more than the others. It averages the gradients of several processes, whatever the
    sizes of their batches.

    Args:
        trainer: The Trainer, within a training step.
        examples: The number of examples in the batch, one of the step's; that of the present batch if None.

    Returns:
        The factor; exactly 1 where a step has its full number of batches, all of the same size.
    """
    accumulate, processes = trainer.accumulate_grad_batches, trainer.world_size
    if accumulate == 1 and processes == 1:
        return 1.0
    present = max(trainer.fit_loop.batch_idx, 0)
    begin = present - present % accumulate
    end = int(min(begin + accumulate, trainer.num_training_batches))
    sizes = known_batch_sizes(trainer)
    if sizes is None:
        return accumulate / (end - begin)
    if examples is None:
        examples = sizes[trainer.global_rank][present]
    together = sum(sum(own[begin:end]) for own in sizes)
    full = examples * accumulate * processes
    return 1.0 if full == together else full / together
