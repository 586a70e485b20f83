"""Measures training time: with the device synchronised, without evaluation, and across resumes."""

import time
from collections.abc import Mapping
from typing import Any

import psutil
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.mean_loss import examples_of
from peft_lightning.callbacks.measured_device import synchronise
from peft_lightning.runs.process_start import Start, process_start, runs_on_device
from peft_lightning.task.gathering import gathered


class EpochTimer(Callback):
    """Measures the seconds of training per epoch and in all, of evaluation, and from the process's start to step 1."""

    section = "time"

    def __init__(self) -> None:
        self.epoch_s: list[float] = []
        self.startup_s: float | None = None
        self.start: Start | None = None
        self.eval_s = 0.0
        self._current_s = 0.0
        # None if a checkpoint of before they were counted was gone on from.
        self._eval_rows: int | None = 0
        self._samples = 0
        self._steps = 0
        self._by_process: list[float] = []
        self._since: float | None = None
        self._eval_since: float | None = None

    @property
    def train_s(self) -> float:
        """Seconds of training so far, without evaluation."""
        return sum(self.epoch_s) + self._current_s + (time.perf_counter() - self._since if self._since else 0.0)

    def figures(self) -> Mapping[str, Any]:
        """Returns the record's ``time`` section."""
        train_s = self.train_s
        return {
            "startup_s": self.startup_s,
            "start": self.start,
            "train_s": train_s or None,
            "epoch_s": list(self.epoch_s),
            "eval_s": self.eval_s or None,
            "eval_rows": self._eval_rows or None,
            "steps": self._steps,
            "samples_per_s": self._samples / train_s if train_s else None,
            "train_s_by_process": list(self._by_process) if len(self._by_process) > 1 else None,
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        synchronise(trainer)
        self._since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measures once the time from the start of the process to the first step."""
        if self.startup_s is None:
            self.startup_s = time.time() - psutil.Process().create_time()
            self.start = process_start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts steps and examples."""
        self._steps = trainer.global_step
        self._samples += examples_of(outputs, batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the training clock."""
        self._pause(trainer)
        self._start_evaluation(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts the rows of a batch: texts, or the windows that they are read in."""
        self._count_rows(batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the training clock again."""
        self._end_evaluation(trainer)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._since = time.perf_counter()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the evaluation clock."""
        self._start_evaluation(trainer)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts the rows of a batch: texts, or the windows that they are read in."""
        self._count_rows(batch)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the evaluation clock."""
        self._end_evaluation(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the seconds of the epoch."""
        self._pause(trainer)
        self.epoch_s.append(self._current_s)
        self._current_s = 0.0
        # Runs on one device slow each other down.
        for logger in trainer.loggers if runs_on_device() == 1 else []:
            logger.log_metrics({"time/epoch_s": self.epoch_s[-1]}, step=trainer.global_step)
        self._since = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock, and learns what those of other processes say."""
        self._pause(trainer)
        self._by_process = gathered(self.train_s)

    def state_dict(self) -> dict[str, Any]:
        """Returns the seconds counted so far."""
        running = time.perf_counter() - self._since if self._since else 0.0
        return {
            "epoch_s": list(self.epoch_s),
            "current_s": self._current_s + running,
            "eval_s": self.eval_s,
            "eval_rows": self._eval_rows,
            "startup_s": self.startup_s,
            "start": self.start,
            "samples": self._samples,
            "steps": self._steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting where a killed run stopped.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self.epoch_s = list(state_dict["epoch_s"])
        self._current_s = state_dict["current_s"]
        self.eval_s = state_dict["eval_s"]
        self._eval_rows = state_dict.get("eval_rows")
        self.startup_s = state_dict["startup_s"]
        self.start = state_dict.get("start")  # older checkpoints lack it
        self._samples = state_dict["samples"]
        self._steps = state_dict["steps"]

    def _pause(self, trainer: Trainer) -> None:
        synchronise(trainer)
        if self._since is not None:
            self._current_s += time.perf_counter() - self._since
        self._since = None

    def _count_rows(self, batch: Any) -> None:
        # Not every data module has token ids.
        if self._eval_rows is not None and isinstance(batch, Mapping) and "input_ids" in batch:
            self._eval_rows += len(batch["input_ids"])

    def _start_evaluation(self, trainer: Trainer) -> None:
        synchronise(trainer)
        self._eval_since = time.perf_counter()

    def _end_evaluation(self, trainer: Trainer) -> None:
        synchronise(trainer)
        if self._eval_since is not None:
            self.eval_s += time.perf_counter() - self._eval_since
        self._eval_since = None
