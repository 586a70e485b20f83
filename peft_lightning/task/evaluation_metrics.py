"""Accumulators of the loss and a task's metrics over an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics import Metric as TorchMetric


class EvaluationMetrics(nn.Module):
    """Accumulates the loss and some metrics over the examples of one evaluation.

    Args:
        losses: Computes the loss of each example, shape (batch,), from logits and targets.
        scores: Metrics of torchmetrics by their keys; they take answers and targets.
        answer: Computes answers from logits.
    """

    def __init__(
        self,
        losses: Callable[[Tensor, Tensor], Tensor],
        scores: Mapping[str, TorchMetric],
        answer: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.scores = MetricCollection(dict(scores), compute_groups=False)
        self._losses = losses
        self._answer = answer

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: The model's outputs, shape (batch, outputs).
            targets: The targets, shape (batch, …).
        """
        self.loss.update(self._losses(logits, targets))
        self.scores.update(self._answer(logits), targets)

    def compute_and_reset(self, split: str) -> dict[str, Tensor]:
        """Computes the metrics and resets them.

        Args:
            split: ``val`` or ``test``, the first part of the metrics' names.

        Returns:
            Scalars by name, such as ``val/loss``.
        """
        figures = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        return {f"{split}/{name}": value for name, value in figures.items()}
