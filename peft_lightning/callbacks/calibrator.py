"""Fits a temperature and thresholds on a validation, and measures what they change there and in a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.runs.record import CalibrationFigures
from peft_lightning.task import Task, recorded
from peft_lightning.task.calibration import Calibration, CalibrationSettings
from peft_lightning.task.gathering import gathered
from peft_lightning.task.metric import LOSS

Batch = dict[str, Tensor]


class Calibrator(Callback):
    """Collects the logits of ``validate`` and ``test``, not those of validations within a training.

    It fits when a validation ends, if it was asked to and nothing is fitted yet. A test never changes what was fitted.

    Args:
        asked: What is to be fitted.
    """

    section = "calibration"

    def __init__(self, asked: CalibrationSettings) -> None:
        self.asked = asked
        self.notes: tuple[str, ...] = ()
        self.calibration: Calibration | None = None
        self._figures = CalibrationFigures()
        self._batches: list[Batch] = []

    def use(self, calibration: Calibration | None) -> None:
        """Measures with what was fitted before, and fits nothing.

        Args:
            calibration: What was fitted; None to measure nothing.
        """
        self.asked, self.calibration = CalibrationSettings(), calibration

    def figures(self) -> Mapping[str, Any]:
        """Returns the section of the record; empty if nothing was fitted."""
        if self.calibration is None:
            return {}
        return {field.name: getattr(self._figures, field.name) for field in dataclasses.fields(self._figures)}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the logits of an earlier evaluation."""
        self._batches = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the logits of an earlier evaluation."""
        self._batches = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch's logits."""
        if trainer.state.fn == "validate" and (self.asked or self.calibration is not None):
            self._collect(outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch's logits, if anything was fitted."""
        if self.calibration is not None:
            self._collect(outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits, and measures what that changes."""
        if trainer.state.fn != "validate":
            return
        if self.asked and self.calibration is None:
            self._fit(task_of(pl_module))
        self._measure(task_of(pl_module), "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures what was fitted."""
        self._measure(task_of(pl_module), "test")

    def _collect(self, outputs: Any, batch: Any) -> None:
        taken = {"index": batch["index"], "label": batch["labels"], "logits": outputs["logits"].float()}
        self._batches.append({name: values.detach().cpu() for name, values in taken.items()})

    def _fit(self, task: Task) -> None:
        batches = [batch for share in gathered(self._batches) for batch in share]
        if not batches:
            return
        columns = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        # Sums depend on their order in the last digits; this one is the same for any batch size and number of devices.
        order = torch.argsort(columns["index"], stable=True)
        logits, targets = columns["logits"][order].numpy(), columns["label"][order].numpy()
        fitted = task.fit_calibration(self.asked, logits, targets)
        self.calibration, self.notes = fitted.calibration, fitted.notes
        self._figures = CalibrationFigures(
            temperature=fitted.calibration.temperature,
            thresholds=task.calibrated(fitted.calibration).named_thresholds() or None,
            thresholds_by=fitted.calibration.metric,
            n_val=len(logits),
        )

    def _measure(self, task: Task, split: str) -> None:
        batches, self._batches = self._batches, []
        if self.calibration is None:
            return
        plain = task.calibrated(None)
        shown = {f"{split}/{metric.key}" for metric in (LOSS, *task.measured())}
        for measured, into in (
            (plain, self._figures.before),
            (plain.calibrated(self.calibration), self._figures.after),
        ):
            metrics = measured.metrics()
            for batch in batches:
                metrics.update(batch["logits"], batch["label"])
            found = metrics.compute_and_reset(split)
            into.update({name: recorded(float(value)) for name, value in found.items() if name in shown})
