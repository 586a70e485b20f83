"""Metrics of classes, averaged over the classes that an evaluation has examples of.

torchmetrics counts a class without examples as 0: a perfect classifier of three classes gets an AUROC of 0.667 where
the split lacks one of them (torchmetrics 1.9).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassF1Score
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities.data import dim_zero_cat


class MacroF1(MulticlassF1Score):
    """The mean F1 of the classes that have examples; NaN without any.

    An answer that names a class without examples counts against the class that would have been right.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro")

    def compute(self) -> Tensor:
        """Computes the mean, a scalar."""
        hits, false_alarms, _, misses = self._final_state()
        present = (hits + misses > 0).float()
        denominator = (2 * hits + false_alarms + misses).float().clamp(min=1.0)
        f1 = 2.0 * hits / denominator
        # The sum of shares, as torchmetrics computes it: bit for bit its figure where no class is missing.
        mean: Tensor = (present * f1 / present.sum(-1, keepdim=True)).sum(-1)
        return mean


class MacroAUROC(Metric):
    """The mean area under the ROC curve of each class against the others; NaN where no class has examples and others.

    Examples are ranked by their log-odds in 64 bits: probabilities in 32 bits are all 1 or 0 from logits of some 17 on,
    where a perfect ranking got 0.5.

    Args:
        num_classes: Number of classes.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        # AUROC sorts scores, which has no deterministic implementation on a GPU.
        super().__init__(compute_on_cpu=True)
        self.num_classes = num_classes
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: The model's outputs, shape (batch, classes).
            targets: The classes, shape (batch,).
        """
        self.scores.append(log_odds(logits))
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """Computes the mean, a scalar."""
        undefined = torch.tensor(float("nan"))
        # A list, or one tensor after the processes' lists were gathered.
        if not len(self.scores):
            return undefined
        scores, targets = dim_zero_cat(self.scores), dim_zero_cat(self.targets)
        if not bool(torch.isfinite(scores).all()):
            return undefined
        areas: list[Tensor] = [
            binary_auroc(_ranks(scores[:, number]), is_class.long(), validate_args=False)
            for number in range(self.num_classes)
            if (is_class := targets == number).any() and not is_class.all()
        ]
        return torch.stack(areas).mean() if areas else undefined


def log_odds(logits: Tensor) -> Tensor:
    """Computes the log-odds of each class against all others, which rank as its probability does and never saturate.

    Args:
        logits: Outputs, shape (batch, classes).

    Returns:
        Log-odds, float64, shape (batch, classes).
    """
    wide = logits.double()
    if wide.shape[-1] == 2:
        return wide - wide.flip(-1)
    # Differences alone count, so that examples whose probabilities are equal stay equal.
    wide = wide - wide.amax(dim=-1, keepdim=True)
    log_probabilities = wide.log_softmax(dim=-1)
    odds = log_probabilities - torch.log1p(-log_probabilities.exp())
    # The probability of the first class may round to 1: there the others are summed by themselves.
    top = wide.argmax(dim=-1, keepdim=True)
    others = wide.scatter(-1, top, float("-inf")).logsumexp(dim=-1, keepdim=True)
    return odds.scatter(-1, top, wide.gather(-1, top) - others)


def _ranks(scores: Tensor) -> Tensor:
    """Replaces scores by their ranks in [0, 1], which torchmetrics takes as they are: it squashes all other scores."""
    distinct, places = torch.unique(scores, return_inverse=True)
    ranks: Tensor = places.double() / max(len(distinct) - 1, 1)
    return ranks
