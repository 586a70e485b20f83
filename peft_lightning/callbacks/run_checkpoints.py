"""A run's two checkpoints: the best by a validation metric, and the last, to resume from."""

import difflib
import math
import os
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.errors import UserError
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.task import Metric, Task
from peft_lightning.task.metric import LOSS


class RunCheckpoints(Checkpoint):
    """Writes ``best.ckpt`` and ``last.ckpt`` after every validation, and ``last.ckpt`` every N steps between.

    Between validations writing takes a share of the time at most: full fine-tuning writes 1.5 GB at roberta-base size,
    which takes longer than a GPU takes for 200 steps.

    A step that ends an epoch is not saved by itself: the validation that follows is, and a run killed in between
    repeats the steps since the checkpoint before, bit for bit. ``best.ckpt`` holds the trained weights, which is what
    one ships; ``last.ckpt`` holds all that is needed to go on.

    Args:
        every_n_steps: Optimiser steps between two writings of ``last.ckpt``; 0 writes it after validations only.
        monitor: The metric that says which checkpoint is best, such as val/f1 or val/mcc; the task's own by default,
            which is val/acc for classes.
        max_time_share: Largest share of the time that writing ``last.ckpt`` between validations may take, after the
            first: a writing that comes too early for that is left out. 1 leaves none out. On one GPU this is the time
            of the thread that writes, without the copy to the host's memory that training waits for. It has no effect
            with a checkpoint plugin of the user's own.
    """

    def __init__(self, every_n_steps: int = 200, monitor: str | None = None, max_time_share: float = 0.05) -> None:
        if every_n_steps < 0:
            raise UserError(f"checkpoint.every_n_steps is {every_n_steps}: 0 or more optimiser steps")
        if not 0 < max_time_share <= 1:
            raise UserError(f"checkpoint.max_time_share is {max_time_share:g}: above 0, and 1 at most")
        self.every_n_steps = every_n_steps
        self.monitor = monitor
        self.max_time_share = max_time_share
        self.best_score: float | None = None
        self.best_step: int | None = None
        self._saved_step = 0
        self._undefined_at: int | None = None
        self._left_to_the_end = False
        self._run: RunDirectory | None = None

    def write_to(self, run: RunDirectory) -> None:
        """Sets the directory of the checkpoints."""
        self._run = run

    @property
    def notes(self) -> list[str]:
        """What was chosen because the monitor is undefined, a sentence each."""
        if self._undefined_at is None:
            return []
        chosen = (
            "no validation has a best checkpoint: the last weights count"
            if self.best_step is None
            else f"that validation was passed over, and the best checkpoint is that of step {self.best_step}"
        )
        return [f"the metric that chooses the best checkpoint was undefined at step {self._undefined_at}: {chosen}"]

    def check_monitor(self, task: Task) -> None:
        """Refuses a monitor that is no metric of the validation.

        Args:
            task: The task, for its metrics.

        Raises:
            UserError: If there is no such metric.
        """
        metrics = {metric.validation for metric in task.monitored}
        if self.monitor is not None and self.monitor not in metrics:
            raise _not_measured(self.monitor, task)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses an unknown monitor before the first step."""
        self.check_monitor(task_of(pl_module))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes ``last.ckpt`` if it is due."""
        step = trainer.global_step
        due = self.every_n_steps and step % self.every_n_steps == 0 and step != self._saved_step
        if not due or not _has_just_stepped(trainer, batch_idx):
            return
        # From a checkpoint just before a validation Lightning goes on after it; the validation saves one anyway.
        if not _validates_next(trainer) and not _is_ending(trainer) and self._has_time(trainer):
            self._save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``best.ckpt`` if the score is a new best, and ``last.ckpt`` in any case."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or self._run is None:
            return
        monitor, metric = self.monitored(pl_module)
        score = trainer.callback_metrics.get(monitor)
        if score is None:
            raise _not_measured(monitor, task_of(pl_module))
        if math.isnan(score):
            self._undefined_at = trainer.global_step
            rank_zero_warn(f"{monitor} is undefined on these validation rows: {self.notes[0]}")
        if metric.improves(float(score), self.best_score):
            self.best_score, self.best_step = float(score), trainer.global_step
            trainer.save_checkpoint(self._run.best, weights_only=True)
        if _is_ending(trainer):
            # From here Lightning would train on: the next checkpoint is that of the end.
            self._left_to_the_end = True
        elif _has_just_stepped(trainer, trainer.fit_loop.batch_idx):
            self._save_last(trainer)

    def monitored(self, pl_module: LightningModule) -> tuple[str, Metric]:
        """Returns the name of the metric that chooses the best checkpoint, and the metric.

        Args:
            pl_module: The module, for its task.
        """
        task = task_of(pl_module)
        monitor = self.monitor or task.headline.validation
        return monitor, task.metric(monitor)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``last.ckpt`` if no validation ended the training, or one that a callback stopped it after."""
        if self._saved_step != trainer.global_step or self._left_to_the_end:
            self._save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Returns the best score so far."""
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "saved_step": self._saved_step,
            "undefined_at": self._undefined_at,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on comparing with the best score so far.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        # A run that starts from another run's checkpoint has no best checkpoint of its own yet.
        if self._run is not None and self._run.best.exists():
            self.best_score = state_dict["best_score"]
            self.best_step = state_dict["best_step"]
        self._saved_step = state_dict["saved_step"]
        self._undefined_at = state_dict.get("undefined_at")

    def _has_time(self, trainer: Trainer) -> bool:
        io = trainer.strategy.checkpoint_io
        free = self.max_time_share == 1 or not isinstance(io, AtomicCheckpointIO) or io.is_free(self.max_time_share)
        # All processes of a run write together, and their clocks differ.
        return bool(trainer.strategy.broadcast(free))

    def _save_last(self, trainer: Trainer) -> None:
        if self._run is None:
            return
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(self._run.last, weights_only=False)


def _has_just_stepped(trainer: Trainer, batch_idx: int) -> bool:
    """Tells whether no gradients are pending, which checkpoints lack; an epoch's last batch always steps."""
    return trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _not_measured(monitor: str, task: Task) -> UserError:
    *names, last = (shown.validation for shown in task.shown())
    known = f"{', '.join(names)} or {last}" if names else last
    every = [metric.validation for metric in task.monitored]
    near = difflib.get_close_matches(monitor.replace("_", "/", 1), every, 1) or difflib.get_close_matches(
        monitor, every, 1
    )
    meant = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"checkpoint.monitor {monitor!r} is not measured: use {known}, or {LOSS.validation}{meant}")


def _validates_next(trainer: Trainer) -> bool:
    """Tells whether the epoch ends or a validation begins right after this batch."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return trainer.is_last_batch or trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def _is_ending(trainer: Trainer) -> bool:
    """Tells whether a callback has asked the Trainer to stop, and it may stop now."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def checkpoint_bytes(run: RunDirectory) -> int | None:
    """Returns the size of the best checkpoint, or of the last if there is no best; None without checkpoints."""
    path = next((path for path in (run.best, run.last) if path.exists()), None)
    return os.path.getsize(path) if path is not None else None
