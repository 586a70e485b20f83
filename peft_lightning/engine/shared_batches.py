"""Batches that several processes share: their loss is the mean over all their examples, wherever these are."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from peft_lightning.engine.micro_batches import Batch, size_of
from peft_lightning.engine.step_shares import known_batch_sizes
from peft_lightning.task.gathering import summed


def shared_loss(trainer: Trainer, loss: Tensor, batch: Batch, batch_idx: int) -> Tensor | dict[str, Any]:
    """Adds the loss of the whole batch to that of this process's share; the backward pass weighs the share itself.

    Args:
        trainer: The Trainer.
        loss: The mean loss of the share, a scalar.
        batch: The share.
        batch_idx: The number of the batch in the epoch.

    Returns:
        The loss itself where one process trains. Otherwise the outputs of a training step: the ``loss`` of the share,
        and for callbacks ``batch_loss``, the mean over the whole batch, and ``examples``, their number.
    """
    if trainer.world_size == 1:
        return loss
    processes = trainer.world_size
    sizes = known_batch_sizes(trainer)
    # Other data modules get what Lightning assumes: equal shares.
    shares = [size_of(batch)] * processes if sizes is None else [counts[batch_idx] for counts in sizes]
    own, examples = shares[trainer.global_rank], sum(shares)
    return {
        "loss": loss,
        "batch_loss": summed(loss.float() * own) / examples,
        "examples": examples,
    }
