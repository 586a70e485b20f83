"""The clock as a Lightning callback, for plain Lightning and for this project's own `fit`."""

from __future__ import annotations

import atexit
import json
from collections import deque
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from side_by_side.clock import StepClock
from side_by_side.ranks import result_of


class LightningClock(Callback):
    """Tells the clock what Lightning does, and keeps the last losses on the device.

    Args:
        clock: the clock.
        losses: how many to keep.
    """

    def __init__(self, clock: StepClock, losses: int) -> None:
        self._clock = clock
        self._losses: deque[torch.Tensor] = deque(maxlen=losses)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that the model is loaded, before anybody else looks at the GPU's peaks."""
        self._clock.loaded()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock once."""
        self._clock.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a step."""
        self._losses.append(outputs["loss"].detach())
        self._clock.step(trainer.global_step)

    def final_loss(self) -> float | None:
        """The mean of the last losses."""
        return float(torch.stack(list(self._losses)).float().mean()) if self._losses else None


class RecordedClock(LightningClock):
    """The clock that `fit` is given with `--trainer.callbacks`; it writes its figures when the process ends.

    The losses are those of the run's own history: an engine may keep its loss in one place and overwrite it.

    Args:
        warmup_steps: the clock starts after these.
        steps: optimiser steps.
        tokens_per_step: tokens of a batch, padding left out.
        result: the file for the figures; of several ranks, the first one's.
        saves: whether the run saves checkpoints. Where only steps are measured no peer does, and 85 GB of weights and
            moments of 7 billion parameters took three minutes.
    """

    def __init__(self, warmup_steps: int, steps: int, tokens_per_step: float, result: str, saves: bool = True) -> None:
        super().__init__(StepClock(warmup_steps, steps, tokens_per_step), 0)
        self._saves = saves
        self._result = Path(result)
        self._rank = 0
        atexit.register(self._write)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the rank as well, and has nothing saved where that is not measured."""
        super().on_fit_start(trainer, pl_module)
        if not self._saves:
            trainer.save_checkpoint = lambda *given, **named: None  # type: ignore[method-assign]
        self._rank = trainer.global_rank

    def _write(self) -> None:
        result_of(self._result, self._rank).write_text(json.dumps(self._clock.figures), encoding="utf-8")
