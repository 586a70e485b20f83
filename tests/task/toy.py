"""A second task in one file: what a contributor would write to have measurements predicted instead of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError

from peft_lightning.task.base import Array, Baseline, LabelledRows, Targets, Task
from peft_lightning.task.evaluation_metrics import EvaluationMetrics
from peft_lightning.task.metric import Metric


class ToyRegression(Task):
    """A decimal number for each text; the lower the mean absolute error, the better."""

    problem_type: ClassVar[str] = "toy_regression"
    headline: ClassVar[Metric] = Metric("mae", "mean absolute error", higher_is_better=False, lowest=0.0)
    others: ClassVar[tuple[Metric, ...]] = (Metric("mse", "MSE", higher_is_better=False, lowest=0.0),)

    @classmethod
    def suits(cls, rows: LabelledRows) -> bool:
        return all(isinstance(label, float) for label in rows.labels)

    @classmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        numbers = [None if rows is None else np.array(rows.labels, dtype=np.float32) for rows in (train, test)]
        assert numbers[0] is not None
        return cls(), numbers[0], numbers[1]

    num_outputs = 1
    labels_in_words = "decimal numbers"

    def baseline(self, targets: Targets) -> Baseline:
        errors = np.abs(targets - targets.mean())
        margin = 2 * float(errors.std()) / len(targets) ** 0.5
        return Baseline(float(errors.mean()), margin, "that of answering the mean")

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(self.answer(logits), targets)

    def metrics(self) -> EvaluationMetrics:
        return EvaluationMetrics(
            lambda logits, targets: (self.answer(logits) - targets) ** 2,
            {"mae": MeanAbsoluteError(), "mse": MeanSquaredError()},
            self.answer,
        )

    def answer(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1)

    def score(self, answers: Array, targets: Targets) -> Array:
        errors: Array = -np.abs(answers.astype(np.float64) - targets)
        return errors

    def columns(self, answers: Array) -> dict[str, npt.NDArray[Any]]:
        return {"prediction": answers}

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, npt.NDArray[Any]], state: Mapping[str, Any]
    ) -> tuple[Task, Targets, Array]:
        return cls(), columns["label"], columns["prediction"]

    def line(self, answer: Any) -> dict[str, Any]:
        return {"value": round(answer, 4)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Task:
        return cls()
