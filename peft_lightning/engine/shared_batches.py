"""Batches that several processes share: their loss is the mean over all their examples, wherever these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from peft_lightning.engine.micro_batches import Batch, size_of
from peft_lightning.engine.step_shares import known_batch_sizes
from peft_lightning.task.gathering import summed


def shared_loss(
    trainer: Trainer, loss: Tensor, batch: Batch, batch_idx: int, owed: list[Callable[[], object]] | None = None
) -> Tensor | dict[str, Any]:
    """Adds the loss of the whole batch to that of this process's share; the backward pass weighs the share itself.

    Args:
        trainer: The Trainer.
        loss: The mean loss of the share, a scalar.
        batch: The share.
        batch_idx: The number of the batch in the epoch.
        owed: Where to put the call that sets ``batch_loss``; None sets it here. What a process sends, it sends in turn:
            a loss, which comes last of a captured step, would hold up gradients that are there before it.

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
    part, whole = loss.detach().float() * own, torch.zeros_like(loss, dtype=torch.float32, requires_grad=False)

    def add() -> None:
        whole.copy_(summed(part) / examples)

    if owed is None:
        add()
    else:
        owed.append(add)
    return {"loss": loss, "batch_loss": whole, "examples": examples}
