"""Counts of an evaluation by class or label, from which the figures of each follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peft_lightning.task.class_figures import precision_recall_f1

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """How often each class or label is had and answered.

    Args:
        hits: Number of texts that have it and get it, shape (labels,).
        support: Number of texts that have it, shape (labels,).
        named: Number of texts that get it, shape (labels,).
    """

    hits: Counts
    support: Counts
    named: Counts

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """F1 of each, shape (labels,); NaN of one that no text has."""
        return precision_recall_f1(self.hits, self.support, self.named)[2]
