"""What is measured on validation and test examples: loss, accuracy, F1 and AUROC."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score


class ClassificationMetrics(nn.Module):
    """Loss, accuracy, macro F1 and macro AUROC over the examples of one evaluation.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.scores = MetricCollection(
            {
                "acc": MulticlassAccuracy(num_classes, average="micro"),
                "f1": MulticlassF1Score(num_classes, average="macro"),
                # Sorting scores has no deterministic implementation on a GPU.
                "auroc": MulticlassAUROC(num_classes, average="macro", compute_on_cpu=True),
            },
            compute_groups=False,
        )

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: Scores, (batch, classes).
            labels: Numbers of the true classes, (batch).
        """
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.loss.update(losses)
        self.scores.update(logits.softmax(dim=-1), labels)

    def compute_and_reset(self, split: str) -> dict[str, Tensor]:
        """Computes the metrics and starts afresh.

        Args:
            split: `val` or `test`, the first part of the metrics' names.

        Returns:
            Scalars by name, such as `val/acc`.
        """
        figures = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        return {f"{split}/{name}": value for name, value in figures.items()}
