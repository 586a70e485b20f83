"""Tells whoever started the run how far it is."""

import contextlib
import math
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.epoch_timer import EpochTimer
from peft_lightning.optim.steps import steps_in_all
from peft_lightning.runs.progress import VARIABLE, Progress

# A write costs some 0.1 ms: a five-thousandth of the time at most.
INTERVAL_S = 0.5


class ProgressFile(Callback):
    """Writes step and stage to a file: each change of stage, and else twice a second at most.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = -math.inf
        self._stage = ""
        self._steps: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how many steps there are."""
        self._steps = steps_in_all(trainer)
        self._say(trainer, "train")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Says how far training is."""
        self._say(trainer, "train")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that the run validates."""
        self._say(trainer, "validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that the run tests."""
        self._say(trainer, "test")

    def _say(self, trainer: Trainer, stage: str) -> None:
        now = time.monotonic()
        if not trainer.is_global_zero or (stage == self._stage and now - self._written < INTERVAL_S):
            return
        self._written, self._stage = now, stage
        timers = [callback for callback in trainer.callbacks if isinstance(callback, EpochTimer)]  # type: ignore[attr-defined]
        train_s = timers[0].train_s if timers else 0.0
        # A run does not end because nobody can be told how far it is.
        with contextlib.suppress(OSError):
            Progress(stage, trainer.global_step, self._steps, train_s).write(self._path)


def asked_for() -> list[Callback]:
    """Returns the callback if whoever started this process wants to know, and nothing otherwise."""
    path = os.environ.get(VARIABLE)
    return [ProgressFile(Path(path))] if path else []
