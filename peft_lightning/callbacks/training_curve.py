"""Logs the training curve: loss, learning rate and gradient norm, every ``log_every_n_steps`` optimiser steps."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.mean_loss import MeanLoss, examples_of
from peft_lightning.engine.strategies import engine_of


class TrainingCurve(Callback):
    """Logs the mean loss since the last point, the learning rate, and the gradient norm before clipping.

    The point is logged before the checkpoint of the same step is written, and the running sum is saved in that
    checkpoint. Lightning's own step logging comes after the checkpoint, so a resumed run would lose the point.
    """

    def __init__(self) -> None:
        self._loss = MeanLoss()
        self._logged_step = 0
        self._gradient_norm: torch.Tensor | None = None
        self._learning_rate: float | None = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measures the gradient norm and reads the learning rate if a point is due."""
        if self._is_due(trainer, trainer.global_step + 1):
            self._gradient_norm = engine_of(trainer).gradient_norm(optimizer)
            # Read here, because the schedule advances before the batch ends. The schedule's own value is logged: an
            # engine may have given the optimiser a rounded one on the device.
            schedules = trainer.lr_scheduler_configs
            rates = schedules[0].scheduler.get_last_lr() if schedules else [optimizer.param_groups[0]["lr"]]
            self._learning_rate = float(rates[0])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the loss, and logs a point if one is due."""
        self._loss.add(trainer, outputs, examples_of(outputs, batch))
        step = trainer.global_step
        if step == self._logged_step or not self._is_due(trainer, step):
            return
        mean = self._loss.take()
        figures = {"train/loss": mean}
        if self._gradient_norm is not None and self._learning_rate is not None:
            figures |= {"train/learning_rate": self._learning_rate, "train/gradient_norm": float(self._gradient_norm)}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=step)
        # Not through `log`: Lightning would keep the value on the device and read it after every later step, and each
        # time the CPU would wait until the GPU has finished the step.
        trainer.progress_bar_metrics["train/loss"] = mean
        trainer.callback_metrics["train/loss"] = torch.tensor(mean)
        self._logged_step = step

    def state_dict(self) -> dict[str, Any]:
        """Returns the sum of losses since the last point."""
        return {**self._loss.state_dict(), "logged_step": self._logged_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the sum.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self._loss.load_state_dict(state_dict)
        self._logged_step = state_dict["logged_step"]

    @staticmethod
    def _is_due(trainer: Trainer, step: int) -> bool:
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return step > 0 and step % every == 0
