"""Counts the optimiser steps of a run from plain numbers, so that planning a run need not import torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def count_optimizer_steps(
    batches_per_epoch: int,
    limit: int | float | None = None,
    accumulate: int = 1,
    max_epochs: int | None = None,
    max_steps: int = -1,
) -> int | None:
    """Counts the optimiser steps of a whole run.

    Args:
        batches_per_epoch: The number of batches that the training loader yields in an epoch.
        limit: The batches of an epoch that are trained on: a number if whole, a share if fractional, None for all.
        accumulate: The number of batches whose gradients add up to one step.
        max_epochs: The most epochs; -1 for no limit, None for one epoch.
        max_steps: The most steps; -1 for no limit.

    Returns:
        The number of steps, at least 1 unless ``max_steps`` is 0; None where nothing limits them.
    """
    if max_epochs == -1:
        return None if max_steps == -1 else max_steps
    batches = limited_batches(batches_per_epoch, limit)
    steps = max(1, math.ceil(batches / accumulate) * (1 if max_epochs is None else max_epochs))
    return steps if max_steps == -1 else min(steps, max_steps)


def limited_batches(batches: int, limit: int | float | None) -> int:
    """Applies one of Lightning's limits to a number of batches.

    Args:
        batches: The number of batches without a limit.
        limit: A number of batches if whole, a share of them if fractional, None for all.
    """
    if isinstance(limit, float):
        return int(batches * limit)
    return min(batches, limit) if isinstance(limit, int) else batches


def planned_steps(trainer: Trainer, batches_per_epoch: int) -> int:
    """Counts the optimiser steps of a Trainer's run, before the Trainer has set its loaders up.

    Lightning's own estimate sets the loader up before the checkpoint's position in the epoch is restored: a resumed run
    would start its epoch anew.

    Args:
        trainer: The Trainer, for its limits and its accumulation.
        batches_per_epoch: The number of batches that the training loader yields in an epoch.

    Returns:
        The number of steps, at least 1; 1 too where nothing limits them.
    """
    steps = count_optimizer_steps(
        batches_per_epoch,
        trainer.limit_train_batches,
        trainer.accumulate_grad_batches,
        trainer.max_epochs,
        trainer.max_steps,
    )
    return 1 if steps is None else steps


def steps_in_all(trainer: Trainer) -> int | None:
    """Counts the optimiser steps of a Trainer's run, including those before it was resumed.

    Args:
        trainer: The Trainer, from ``on_train_start`` on: by then it has applied its limits to its batches.

    Returns:
        The number of steps; None where nothing limits them.
    """
    batches = trainer.num_training_batches
    if isinstance(batches, int):
        return count_optimizer_steps(
            batches, None, trainer.accumulate_grad_batches, trainer.max_epochs, trainer.max_steps
        )
    return trainer.max_steps if trainer.max_steps >= 0 else None  # a stream of unknown length
