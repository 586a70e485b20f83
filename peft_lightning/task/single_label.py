"""Single-label classification: every text has one of two or more classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.task.base import Array, Baseline, LabelledRows, Targets, Task
from peft_lightning.task.class_labels import class_numbers
from peft_lightning.task.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics


@dataclass(frozen=True)
class SingleLabel(Task):
    """Single-label classification with two or more classes.

    Args:
        class_names: Names of the classes, in the order of their numbers.
        label_smoothing: Share of the target's probability that is spread over all classes in training, in [0, 1).
        named: Whether the names are the classes' own; older runs did not keep them, only the number of classes.
    """

    class_names: tuple[str, ...]
    label_smoothing: float = 0.0
    named: bool = True

    problem_type: ClassVar[str] = "single_label_classification"
    headline: ClassVar[Metric] = Metric("acc", "accuracy", percent=True, lowest=0.0, highest=1.0, adjective="accurate")
    others: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", "F1", lowest=0.0, highest=1.0),
        Metric("auroc", "AUROC", lowest=0.0, highest=1.0),
    )

    @classmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Returns True: this task takes all labels that no other does, and its errors say which are not classes."""
        return True

    @classmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Numbers the classes."""
        train_classes, test_classes, class_names = class_numbers(train, test)
        return cls(tuple(class_names)), train_classes, test_classes

    def configured(self, class_names: Sequence[str] | None, label_smoothing: float) -> SingleLabel:
        """Renames the classes and smooths their labels."""
        if class_names is not None and len(class_names) != len(self.class_names):
            raise UserError(
                f"model.class_names names {len(class_names)} classes and the data has {len(self.class_names)}:"
                f" {', '.join(self.class_names)}"
            )
        return replace(self, class_names=tuple(class_names or self.class_names), label_smoothing=label_smoothing)

    @property
    def num_outputs(self) -> int:
        """Number of outputs: one per class."""
        return len(self.class_names)

    @property
    def labels_in_words(self) -> str:
        """The number of classes in words."""
        return f"{len(self.class_names)} classes"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes' own names."""
        return self.class_names if self.named else ()

    def strata(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Groups targets by their class."""
        return targets.astype(np.int64, copy=False)

    def baseline(self, targets: Targets) -> Baseline:
        """Computes the share of the most frequent class, with a margin of two standard errors of the accuracy."""
        share = float(np.bincount(targets).max() / len(targets))
        margin = 2 * math.sqrt(share * (1 - share) / max(1, len(targets)))
        return Baseline(share, margin, "the share of the most frequent class")

    def undefined(self, targets: Targets) -> frozenset[str]:
        """Returns AUROC if all examples are of one class: no class is told from another then."""
        return frozenset({"auroc"} if len(np.unique(targets)) < 2 else ())

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the mean cross entropy."""
        from torch.nn import functional as F

        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)

    def metrics(self) -> EvaluationMetrics:
        """Returns accumulators of accuracy, macro F1, macro AUROC, and the cross entropy without label smoothing."""
        from torch.nn import functional as F
        from torchmetrics.classification import MulticlassAccuracy

        from peft_lightning.task.class_metrics import MacroAUROC, MacroF1
        from peft_lightning.task.evaluation_metrics import EvaluationMetrics

        classes = len(self.class_names)
        return EvaluationMetrics(
            lambda logits, targets: F.cross_entropy(logits, targets, reduction="none"),
            {
                "acc": MulticlassAccuracy(classes, average="micro"),
                "f1": MacroF1(classes),
            },
            self.answer,
            {"auroc": MacroAUROC(classes)},
        )

    def answer(self, logits: Tensor) -> Tensor:
        """Computes the probabilities of the classes, shape (batch, classes)."""
        return logits.softmax(dim=-1)

    def score(self, answers: Array, targets: Targets) -> Array:
        """Tells for each answer whether its most probable class is right."""
        right: Array = answers.argmax(axis=-1) == targets
        return right

    def columns(self, answers: Array) -> dict[str, Array]:
        """Returns the predicted class, and the probability of each class."""
        columns = {"prediction": answers.argmax(axis=-1)}
        for number in range(answers.shape[1]):
            columns[f"probability_{number}"] = np.ascontiguousarray(answers[:, number])
        return columns

    def answer_columns(self, answers: Array) -> dict[str, Array]:
        """Returns the name of the predicted class before its number and the probabilities."""
        columns = self.columns(answers)
        return {"label": np.asarray(self.class_names)[columns["prediction"]], **columns}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], state: Mapping[str, Any]) -> tuple[Task, Targets, Array]:
        """Restores answers; there are as many classes as columns of probabilities."""
        labels, predictions = (columns[name].astype(np.int64) for name in ("label", "prediction"))
        classes = sum(name.startswith("probability_") for name in columns)
        if (
            not len(labels)
            or min(labels.min(), predictions.min()) < 0
            or max(labels.max(), predictions.max()) >= classes
        ):
            raise ValueError(f"no answers to {classes} classes")
        probabilities = np.stack([columns[f"probability_{number}"] for number in range(classes)], axis=1)
        names = state.get("class_names")
        if names and (not isinstance(names, list) or len(names) != classes):
            raise ValueError(f"no names of {classes} classes")
        task = cls(tuple(map(str, names))) if names else cls(tuple(_unnamed(n) for n in range(classes)), named=False)
        return task, labels, probabilities

    def line(self, answer: Any) -> dict[str, Any]:
        """Returns the predicted class, and the probabilities of all classes."""
        probabilities = {name: round(value, 6) for name, value in zip(self.class_names, answer, strict=True)}
        label = self.class_names[max(range(len(answer)), key=answer.__getitem__)]
        return {"label": label, "probabilities": probabilities}

    def label_in_words(self, target: Any) -> str:
        """Returns the name of the class."""
        return self.class_names[target] if target < len(self.class_names) else _unnamed(target)

    def confusion(self, answers: Array, targets: Targets) -> npt.NDArray[np.int64]:
        """Computes the confusion matrix."""
        classes = answers.shape[1]
        counts = np.bincount(targets * classes + answers.argmax(axis=-1), minlength=classes**2)
        matrix: npt.NDArray[np.int64] = counts.reshape(classes, classes)
        return matrix

    def state(self) -> dict[str, Any]:
        """Returns the problem type, and the names of the classes if they are known."""
        return super().state() | ({"class_names": list(self.class_names)} if self.named else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SingleLabel:
        """Restores the task from the names of the classes."""
        if not state["class_names"]:
            raise KeyError("class_names")
        return cls(tuple(state["class_names"]))


def _unnamed(number: int) -> str:
    return f"class {number}"
