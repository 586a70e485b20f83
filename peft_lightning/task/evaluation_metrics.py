"""Accumulators of the loss and a task's metrics over an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics import Metric as TorchMetric

from peft_lightning.task.gathering import gathered_states


class EvaluationMetrics(nn.Module):
    """Accumulates the loss and some metrics over the examples of one evaluation, those of all its processes.

    Args:
        losses: Computes the loss of each example, shape (batch,), from logits and targets.
        scores: Metrics of torchmetrics by their keys; they take answers and targets.
        answer: Computes answers from logits.
        rankings: Metrics by their keys that take logits and targets: answers may saturate, and then they rank nothing.
    """

    def __init__(
        self,
        losses: Callable[[Tensor, Tensor], Tensor],
        scores: Mapping[str, TorchMetric],
        answer: Callable[[Tensor], Tensor],
        rankings: Mapping[str, TorchMetric] | None = None,
    ) -> None:
        super().__init__()
        # By default it leaves out losses that are NaN, and the mean is of other examples than the metrics.
        self.loss = MeanMetric(nan_strategy="disable")
        self.scores = MetricCollection(dict(scores), compute_groups=False)
        self.rankings = MetricCollection(dict(rankings or {}), compute_groups=False)
        for metric in (self.loss, *self.scores.values(), *self.rankings.values()):
            metric.dist_sync_fn = gathered_states
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
        self.rankings.update(logits, targets)

    def compute_and_reset(self, split: str) -> dict[str, Tensor]:
        """Computes the metrics and resets them.

        Args:
            split: ``val`` or ``test``, the first part of the metrics' names.

        Returns:
            Scalars by name, such as ``val/loss``; NaN for a metric that these examples leave undefined, and for all
            of them without examples.
        """
        figures = {"loss": self.loss.compute(), **self.scores.compute(), **self.rankings.compute()}
        if figures["loss"].isnan():  # of no example, or of one that has no answer: other metrics would make it a 0
            figures = {name: torch.full_like(value, torch.nan) for name, value in figures.items()}
        for metrics in (self.loss, self.scores, self.rankings):
            metrics.reset()
        return {f"{split}/{name}": value for name, value in figures.items()}
