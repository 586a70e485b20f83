"""Accumulators of the loss and a task's metrics over an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics import Metric as TorchMetric

from peft_lightning.task.gathered_figures import Figures, GatheredFigures
from peft_lightning.task.gathering import gathered_states


class EvaluationMetrics(nn.Module):
    """Accumulates the loss and some metrics over the examples of one evaluation, those of all its processes.

    Args:
        losses: Computes the loss of each example, shape (batch,), from logits and targets.
        scores: Metrics of torchmetrics by their keys; they take answers and targets.
        answer: Computes answers from logits.
        rankings: Metrics by their keys that take logits and targets: answers may saturate, and then they rank nothing.
        figures: Computes further metrics from all examples of the evaluation: from logits, answers and targets.
        keys: The keys of those further metrics.
        scaled: Changes logits before all but answers are computed from them; None to leave them.
    """

    def __init__(
        self,
        losses: Callable[[Tensor, Tensor], Tensor],
        scores: Mapping[str, TorchMetric],
        answer: Callable[[Tensor], Tensor],
        rankings: Mapping[str, TorchMetric] | None = None,
        figures: Figures | None = None,
        keys: Sequence[str] = (),
        scaled: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        # By default it leaves out losses that are NaN, and the mean is of other examples than the metrics.
        self.loss = MeanMetric(nan_strategy="disable")
        self.scores = MetricCollection(dict(scores), compute_groups=False)
        self.rankings = MetricCollection(dict(rankings or {}), compute_groups=False)
        self.further = None if figures is None else GatheredFigures(figures)
        self._keys = tuple(keys)
        every = (self.loss, *self.scores.values(), *self.rankings.values())
        for metric in every if self.further is None else (*every, self.further):
            metric.dist_sync_fn = gathered_states
        self._losses = losses
        self._answer = answer
        self._scaled = scaled

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: The model's outputs, shape (batch, outputs).
            targets: The targets, shape (batch, …).
        """
        answers = self._answer(logits)
        if self._scaled is not None:
            logits = self._scaled(logits)
        self.loss.update(self._losses(logits, targets))
        self.scores.update(answers, targets)
        self.rankings.update(logits, targets)
        if self.further is not None:
            self.further.update(logits, answers, targets)

    def compute_and_reset(self, split: str) -> dict[str, Tensor]:
        """Computes the metrics and resets them.

        Args:
            split: ``val`` or ``test``, the first part of the metrics' names.

        Returns:
            Scalars by name, such as ``val/loss``; NaN for a metric that these examples leave undefined, and for all
            of them without examples.
        """
        figures = {"loss": self.loss.compute(), **self.scores.compute(), **self.rankings.compute()}
        if self.further is not None:
            undefined = {key: torch.tensor(torch.nan) for key in self._keys}
            # Of an answer that is no number nothing follows, and some of it could not be computed.
            figures |= undefined if figures["loss"].isnan() else undefined | self.further.compute()
            self.further.reset()
        if figures["loss"].isnan():  # of no example, or of one that has no answer: other metrics would make it a 0
            figures = {name: torch.full_like(value, torch.nan) for name, value in figures.items()}
        for metrics in (self.loss, self.scores, self.rankings):
            metrics.reset()
        return {f"{split}/{name}": value for name, value in figures.items()}
