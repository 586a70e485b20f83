"""Shows the progress of a run as plain lines, for a log or a pipe."""

import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from peft_lightning.callbacks.mean_loss import MeanLoss, examples_of
from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.optim.steps import steps_in_all
from peft_lightning.runs.durations import duration

INTERVAL_S = 30.0


class ProgressLines(ProgressBar):
    """Prints a line when training starts, after every validation, and twice a minute between.

    The loss in a line is the mean since the line before. It is read from the device only then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._silent = False
        self._steps: int | None = None
        self._first_step = 0
        self._began = self._said = 0.0
        self._loss = MeanLoss()

    def disable(self) -> None:
        """Stops printing; Lightning calls this in the processes of further GPUs."""
        self._silent = True

    def enable(self) -> None:
        """Prints again."""
        self._silent = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the number of steps."""
        self._steps = steps_in_all(trainer)
        self._first_step, self._began = trainer.global_step, time.monotonic()
        many = f"{self._steps:,} steps" if self._steps is not None else "an open number of steps"
        self._say(f"training: {many}" + (f", {self._first_step:,} of them made before" if self._first_step else ""))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints a line if one is due."""
        self._loss.add(trainer, outputs, examples_of(outputs, batch))
        if self._is_due():
            self._say(f"{self._place(trainer)}: loss {self._loss.take():.3f}{self._left(trainer)}")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Prints the progress of a long validation."""
        self._evaluated("validation", args[2], trainer.num_val_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the metrics of a validation."""
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        measured = [f"loss {float(metrics['val/loss']):.3f}"] if "val/loss" in metrics else []
        metric = task_of(pl_module).headline
        if metric.validation in metrics:
            measured.append(f"{metric.name} {metric.words(float(metrics[metric.validation]))}")
        self._say(f"{self._place(trainer)}: validation {', '.join(measured) or 'done'}{self._left(trainer)}")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints that testing starts."""
        self._say("testing")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Prints the progress of a long test."""
        self._evaluated("testing", args[2], trainer.num_test_batches)

    def _evaluated(self, what: str, batch_idx: int, batches: Sequence[int | float]) -> None:
        if self._is_due():
            self._say(f"{what}: batch {batch_idx + 1:,} of {sum(batches):,}")

    def _place(self, trainer: Trainer) -> str:
        return f"step {trainer.global_step:,}" + (f" of {self._steps:,}" if self._steps is not None else "")

    def _left(self, trainer: Trainer) -> str:
        made = trainer.global_step - self._first_step
        if self._steps is None or not made or trainer.global_step >= self._steps:
            return ""
        seconds = (time.monotonic() - self._began) / made * (self._steps - trainer.global_step)
        return f"; about {duration(seconds)} left"

    def _is_due(self) -> bool:
        return time.monotonic() - self._said >= INTERVAL_S

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        if not self._silent:
            print(line, flush=True)
