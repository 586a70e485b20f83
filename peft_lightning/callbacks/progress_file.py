"""Writes the progress of a run to a file, for the process that started the run."""

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

# A write takes about 0.1 ms: at most a five-thousandth of the time.
INTERVAL_S = 0.5


class ProgressFile(Callback):
    """Writes step and stage to a file at each change of stage, and otherwise at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = -math.inf
        self._stage = ""
        self._steps: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes that training starts, and its number of steps."""
        self._steps = steps_in_all(trainer)
        self._say(trainer, "train")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Writes the step."""
        self._say(trainer, "train")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes that the run validates."""
        self._say(trainer, "validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes that the run tests."""
        self._say(trainer, "test")

    def _say(self, trainer: Trainer, stage: str) -> None:
        now = time.monotonic()
        if not trainer.is_global_zero or (stage == self._stage and now - self._written < INTERVAL_S):
            return
        self._written, self._stage = now, stage
        timers = [callback for callback in trainer.callbacks if isinstance(callback, EpochTimer)]  # type: ignore[attr-defined]
        train_s = timers[0].train_s if timers else 0.0
        # A failed write of the progress must not end the run.
        with contextlib.suppress(OSError):
            Progress(stage, trainer.global_step, self._steps, train_s).write(self._path)


def asked_for() -> list[Callback]:
    """Returns the callback if the environment names a progress file, otherwise an empty list."""
    path = os.environ.get(VARIABLE)
    return [ProgressFile(Path(path))] if path else []
