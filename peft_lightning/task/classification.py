"""What both classifications share: outputs that are named classes or labels, with a probability each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from peft_lightning.task.calibrated_labels import CalibratedLabels
from peft_lightning.task.label_metrics import ECE, metrics_of_labels
from peft_lightning.task.metric import Metric


class Classification(CalibratedLabels):
    """A task of named classes or labels; subclasses are dataclasses with a first field ``class_names``."""

    class_names: tuple[str, ...]

    @property
    def num_outputs(self) -> int:
        """Number of outputs: one per class or label."""
        return len(self.class_names)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes or labels."""
        return self.class_names

    @property
    def of_labels(self) -> tuple[Metric, ...]:
        """Precision, recall, F1 and PR-AUC of each class or label."""
        return metrics_of_labels(self.class_names)

    @classmethod
    def compared(cls) -> tuple[Metric, ...]:
        """Returns all metrics but the calibration error, whose bias is as large as differences of it."""
        return tuple(metric for metric in cls.measured() if metric is not ECE)

    def named_probabilities(self, answer: Sequence[float]) -> dict[str, float]:
        """Returns the probabilities of an answer by the names of their classes or labels, as lines show them.

        Args:
            answer: One answer, in plain Python numbers.
        """
        return {name: round(value, 6) for name, value in zip(self.class_names, answer, strict=True)}

    def state(self) -> dict[str, Any]:
        """Returns the problem type, and the names of the classes or labels if they are known."""
        return super().state() | ({"class_names": list(self.label_names)} if self.label_names else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Restores the task from the names of the classes or labels."""
        if not state["class_names"]:
            raise KeyError("class_names")
        return cls(tuple(state["class_names"]))  # type: ignore[call-arg]
