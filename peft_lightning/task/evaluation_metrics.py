"""What is measured on validation and test examples: the loss and a task's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics import Metric as TorchMetric


class EvaluationMetrics(nn.Module):
    """The loss and some metrics over the examples of one evaluation.

    Args:
        losses: Computes the loss of each example, (batch), from logits and targets.
        scores: torchmetrics by their keys; they are given answers and targets.
        answer: Makes answers of logits.
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
            logits: (batch, outputs).
            targets: (batch, …).
        """
        self.loss.update(self._losses(logits, targets))
        self.scores.update(self._answer(logits), targets)

    def compute_and_reset(self, split: str) -> dict[str, Tensor]:
        """Computes the metrics and starts afresh.

        Args:
            split: `val` or `test`, the first part of the metrics' names.

        Returns:
            Scalars by name, such as `val/loss`.
        """
        figures = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        return {f"{split}/{name}": value for name, value in figures.items()}
