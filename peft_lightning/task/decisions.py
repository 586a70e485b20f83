"""What probabilities decide: the class that a text gets, or its labels; by one rule in tables, lines and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.thresholds import HALF

if TYPE_CHECKING:
    from torch import Tensor

Answers = npt.NDArray[Any]


@dataclass(frozen=True)
class ClassDecision:
    """Gives a text its most probable class, or of two classes the second where it is above a threshold.

    Args:
        threshold: The probability of the second of two classes above which it is answered; None for the most probable
            class.
    """

    threshold: float | None = None

    def of(self, answers: Answers) -> npt.NDArray[np.int64]:
        """Returns the class of each text, shape (n,); of equally probable ones the first.

        Args:
            answers: Probabilities, shape (n, classes).
        """
        decided: npt.NDArray[np.int64] = (
            answers.argmax(axis=-1) if self.threshold is None else (answers[:, 1] > self.threshold).astype(np.int64)
        )
        return decided

    def of_one(self, answer: Sequence[float]) -> int:
        """Returns the class of a text.

        Args:
            answer: Its probabilities, in plain Python numbers.
        """
        if self.threshold is None:
            return max(range(len(answer)), key=answer.__getitem__)
        return int(answer[1] > self.threshold)

    def shares(self, answers: Tensor) -> Tensor:
        """Returns 1 for the class that a threshold decides on and 0 for the other, shape (batch, 2).

        Args:
            answers: Probabilities, shape (batch, 2).
        """
        import torch

        second = answers[:, 1] > self.threshold  # type: ignore[operator]
        return torch.stack([~second, second], dim=-1).float()


@dataclass(frozen=True)
class LabelDecision:
    """Gives a text the labels that are more probable than not, or above thresholds.

    Args:
        thresholds: The probability of each label above which it is answered; None for a half.
    """

    thresholds: tuple[float, ...] | None = None

    def of(self, answers: Answers) -> npt.NDArray[np.bool_]:
        """Tells which labels each text gets, shape (n, labels).

        Args:
            answers: Probabilities, shape (n, labels).
        """
        least = HALF if self.thresholds is None else np.array(self.thresholds, dtype=answers.dtype)
        chosen: npt.NDArray[np.bool_] = answers > least
        return chosen

    def of_one(self, answer: Sequence[float]) -> list[bool]:
        """Tells which labels a text gets.

        Args:
            answer: Its probabilities, in plain Python numbers.
        """
        least = self.thresholds or (HALF,) * len(answer)
        return [value > threshold for value, threshold in zip(answer, least, strict=True)]
