"""A torchmetrics metric that keeps all examples of an evaluation and computes a task's figures from them at its end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

Array = npt.NDArray[np.float64]
Figures = Callable[[Array, Array, npt.NDArray[np.generic]], dict[str, float]]


class GatheredFigures(Metric):
    """The figures of an evaluation's examples, those of all its processes.

    Args:
        figures: Computes figures by their keys from logits in 64 bits, answers and targets; NaN for an undefined one.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    logits: list[Tensor]
    answers: list[Tensor]
    targets: list[Tensor]

    def __init__(self, figures: Figures) -> None:
        super().__init__(compute_on_cpu=True)
        self._figures = figures
        for name in ("logits", "answers", "targets"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, answers: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: The model's outputs, shape (batch, outputs).
            answers: The task's answers, shape (batch, …).
            targets: The targets, shape (batch, …).
        """
        self.logits.append(logits.detach())
        self.answers.append(answers.detach())
        self.targets.append(targets)

    def compute(self) -> dict[str, Tensor]:
        """Computes the figures, scalars by their keys; empty without examples."""
        if not len(self.logits):
            return {}
        logits, answers, targets = (dim_zero_cat(part) for part in (self.logits, self.answers, self.targets))
        figures = self._figures(logits.double().numpy(), answers.numpy(), targets.numpy())
        return {key: torch.tensor(value) for key, value in figures.items()}
