"""Counts the batches of a run from its settings, which turns the seconds of a batch into a forecast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft_lightning.optim.steps import count_optimizer_steps, limited_batches
from peft_lightning.runs.record import DatasetFigures

# Lightning's default, if neither epochs nor steps are limited.
EPOCHS = 1000


@dataclass(frozen=True)
class Workload:
    """The batches of a whole run.

    Args:
        train: Training batches.
        steps: Optimiser steps.
        validation: Validation batches, summed over all validations.
        test: Test batches.
        windows: Windows in a batch to validate or test on, on average; None where long texts are cut.
    """

    train: int
    steps: int
    validation: int
    test: int
    windows: float | None = None


def workload(trainer: Mapping[str, Any], data: Mapping[str, Any], dataset: DatasetFigures) -> Workload:
    """Counts the batches of a run.

    Args:
        trainer: The run's Trainer settings; missing ones have Lightning's defaults.
        data: Its resolved data settings.
        dataset: The numbers of examples that it draws.
    """
    devices = trainer.get("devices")
    at_once = devices if isinstance(devices, int) and devices > 0 else 1

    def all_batches(count: int, size: str) -> int:
        at_a_time: int = data[size] * at_once
        return math.ceil(count / at_a_time)

    def batches(count: int, size: str, limit: str) -> int:
        return limited_batches(all_batches(count, size), trainer.get(limit))

    epoch = batches(dataset.n_train, "batch_size", "limit_train_batches")
    accumulated = trainer.get("accumulate_grad_batches") or 1
    steps_an_epoch = math.ceil(epoch / accumulated)
    steps = _steps(trainer, epoch, accumulated) if epoch else 0
    epochs = steps / steps_an_epoch if steps_an_epoch else 0.0
    validations = epochs / (trainer.get("check_val_every_n_epoch") or 1) * _validations_an_epoch(trainer, epoch)
    evaluated = sum(all_batches(count, "eval_batch_size") for count in (dataset.n_val, dataset.n_test))
    return Workload(
        train=round(epoch * epochs),
        steps=steps,
        validation=math.ceil(validations) * batches(dataset.n_val, "eval_batch_size", "limit_val_batches"),
        test=batches(dataset.n_test, "eval_batch_size", "limit_test_batches"),
        windows=dataset.windows / at_once / evaluated if dataset.windows is not None and evaluated else None,
    )


def _steps(trainer: Mapping[str, Any], batches_per_epoch: int, accumulate: int) -> int:
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps") or -1
    if not isinstance(epochs, int) or epochs <= 0:
        epochs = -1 if most > 0 else EPOCHS
    steps = count_optimizer_steps(batches_per_epoch, None, accumulate, epochs, most if most > 0 else -1)
    assert steps is not None  # one of the two is limited
    return steps


def _validations_an_epoch(trainer: Mapping[str, Any], batches: int) -> float:
    interval = trainer.get("val_check_interval")
    if isinstance(interval, float) and interval > 0:
        return 1 / interval
    return batches / interval if isinstance(interval, int) and interval > 0 else 1
