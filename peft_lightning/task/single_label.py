"""Single-label classification: every text has one of two or more classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.task.base import Array, LabelledRows, Targets, Task, TaskSettings
from peft_lightning.task.baselines import Baseline, baseline_of_classes
from peft_lightning.task.calibration import Calibration, CalibrationSettings, ThresholdMetric
from peft_lightning.task.class_figures import confusion_counts
from peft_lightning.task.class_labels import class_numbers
from peft_lightning.task.class_weights import weights_of_classes
from peft_lightning.task.classification import Classification
from peft_lightning.task.decisions import ClassDecision
from peft_lightning.task.label_counts import LabelCounts
from peft_lightning.task.label_metrics import (
    AUROC,
    BRIER,
    ECE,
    F1,
    F1_MICRO,
    F1_WEIGHTED,
    LOG_LOSS,
    PR_AUC,
)
from peft_lightning.task.metric import Metric
from peft_lightning.task.numbered_columns import numbered
from peft_lightning.task.one_label import one_label_each, refuse_columns
from peft_lightning.task.temperature import Floats, slope_of_classes
from peft_lightning.task.thresholds import refuse_classes, threshold_of_two_classes
from peft_lightning.task.undefined_metrics import undefined_of_classes

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics


@dataclass(frozen=True)
class SingleLabel(Classification):
    """Single-label classification with two or more classes.

    Args:
        class_names: Names of the classes, in the order of their numbers.
        label_smoothing: Share of the target's probability that is spread over all classes in training, in [0, 1).
        named: Whether the names are the classes' own; older runs did not keep them, only the number of classes.
        weights: What each class counts in the training loss, 1 on average over the training rows; None for the same.
        focal_gamma: Exponent of the focal loss; 0 for none.
        counts: Number of training rows of each class; None where it is not known.
        calibration: What was fitted on the validation split and changes answers.
    """

    class_names: tuple[str, ...]
    label_smoothing: float = 0.0
    named: bool = True
    weights: tuple[float, ...] | None = None
    focal_gamma: float = 0.0
    counts: tuple[int, ...] | None = field(default=None, compare=False)
    calibration: Calibration | None = None

    problem_type: ClassVar[str] = "single_label_classification"
    headline: ClassVar[Metric] = Metric("acc", "accuracy", percent=True, lowest=0.0, highest=1.0, adjective="accurate")
    others: ClassVar[tuple[Metric, ...]] = (F1, AUROC)
    further: ClassVar[tuple[Metric, ...]] = (
        Metric("balanced_acc", "balanced accuracy", percent=True, lowest=0.0, highest=1.0),
        *(F1_MICRO, F1_WEIGHTED),
        Metric("mcc", "MCC", lowest=-1.0, highest=1.0),
        *(PR_AUC, LOG_LOSS, BRIER, ECE),
    )
    why_undefined: ClassVar[str] = "which are all of one class"
    label_word: ClassVar[str] = "class"
    takes: ClassVar[frozenset[str]] = frozenset(("class_names", "label_smoothing", "class_weights", "focal_gamma"))

    @classmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Returns True: this task takes all labels that no other does, and its errors say which are not classes."""
        return True

    @classmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Numbers the classes."""
        refuse_columns(train)
        train_classes, test_classes, class_names = class_numbers(train, test)
        return cls(tuple(class_names)), train_classes, test_classes

    @classmethod
    def find_as_asked(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Numbers the classes, also those that are decimals, or lists or columns that name one class a row."""
        plain, plain_test = one_label_each(train), None if test is None else one_label_each(test)
        train_classes, test_classes, class_names = class_numbers(plain, plain_test, decimals=True)
        return cls(tuple(class_names)), train_classes, test_classes

    def fitted(self, targets: Targets) -> SingleLabel:
        """Counts the training rows of each class."""
        return replace(self, counts=tuple(np.bincount(targets, minlength=len(self.class_names)).tolist()))

    def with_settings(self, settings: TaskSettings) -> Self:
        """Renames the classes, smooths their labels and weighs them."""
        if settings.focal_gamma and settings.label_smoothing:
            raise UserError(
                "model.focal_gamma and model.label_smoothing pull an answer that is sure to opposite sides: leave out"
                " one of them"
            )
        names, asked = settings.names_of(self.class_names, "classes"), settings.class_weights
        weights = None
        # A task that answers only has no counts, and no use for weights.
        if asked is not None and self.counts is not None:
            weights = weights_of_classes(asked, np.array(self.counts), names)
        return replace(
            self,
            class_names=names,
            label_smoothing=settings.label_smoothing,
            weights=weights,
            focal_gamma=settings.focal_gamma,
        )

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
        return baseline_of_classes(targets)

    def undefined(self, targets: Targets) -> frozenset[str]:
        """Returns AUROC and MCC if all examples are of one class, and what a class without examples has no value of."""
        return undefined_of_classes(targets, self.class_names)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the mean cross entropy over the examples, weighted or focal if asked."""
        from peft_lightning.task.losses import loss_of_classes

        return loss_of_classes(logits, targets, self.label_smoothing, self.weights, self.focal_gamma)

    def metrics(self) -> EvaluationMetrics:
        """Returns accumulators of all metrics, and of the cross entropy without smoothing, weights and focus."""
        from torch import softmax
        from torch.nn import functional as F
        from torchmetrics.classification import MulticlassAccuracy

        from peft_lightning.task.class_figures import class_figures
        from peft_lightning.task.class_metrics import MacroAUROC, MacroF1
        from peft_lightning.task.evaluation_metrics import EvaluationMetrics

        classes, decision = len(self.class_names), self.decision
        return EvaluationMetrics(
            lambda logits, targets: F.cross_entropy(logits, targets, reduction="none"),
            {
                "acc": MulticlassAccuracy(classes, average="micro"),
                "f1": MacroF1(classes),
            },
            # A temperature alone changes no decision, whatever its rounding; a threshold decides by itself.
            partial(softmax, dim=-1)
            if decision.threshold is None
            else lambda logits: decision.shares(self.answer(logits)),
            {"auroc": MacroAUROC(classes)},
            partial(class_figures, names=self.class_names),
            [metric.key for metric in (*self.further, *self.of_labels)],
            self.scaling,
        )

    def answer(self, logits: Tensor) -> Tensor:
        """Computes the probabilities of the classes, shape (batch, classes)."""
        return self.tempered(logits).softmax(dim=-1)

    @property
    def decision(self) -> ClassDecision:
        """Which class a text gets: the most probable one, unless a threshold was fitted."""
        return ClassDecision(None if self.thresholds is None else self.thresholds[0])

    def score(self, answers: Array, targets: Targets) -> Array:
        """Tells for each answer whether its class is right."""
        right: Array = self.decision.of(answers) == targets
        return right

    def confidences(self, answers: Array, targets: Targets) -> tuple[Array, Array]:
        """Returns the probability of the most probable class of each example, and whether it is right."""
        return answers.max(axis=-1), answers.argmax(axis=-1) == targets

    def certainty(self, answers: Array) -> Array:
        """Returns the probability of the most probable class."""
        highest: Array = answers.max(axis=-1)
        return highest

    def pseudo_values(self, key: str, answers: Array, targets: Targets) -> Array:
        """Returns the pseudo-values of a metric of all classes or of one, such as ``f1.positive``."""
        from peft_lightning.task.pseudo_values import pseudo_values_of_classes

        if key == self.headline.key:
            return super().pseudo_values(key, answers, targets)
        return pseudo_values_of_classes(key, answers, targets, self.class_names)

    def columns(self, answers: Array) -> dict[str, Array]:
        """Returns the predicted class, and the probability of each class."""
        columns: dict[str, Array] = {"prediction": self.decision.of(answers)}
        return columns | numbered("probability", answers)

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
        label = self.class_names[self.decision.of_one(answer)]
        return {"label": label, "probabilities": self.named_probabilities(answer)}

    def label_in_words(self, target: Any) -> str:
        """Returns the name of the class."""
        return self.class_names[target] if target < len(self.class_names) else _unnamed(target)

    def confusion(self, answers: Array, targets: Targets) -> npt.NDArray[np.int64]:
        """Computes the confusion matrix."""
        return confusion_counts(targets, self.decision.of(answers), answers.shape[1])

    def check_calibration(self, asked: CalibrationSettings, targets: Targets) -> None:
        """Refuses thresholds of three or more classes, and of validation rows of one class."""
        if asked.thresholds is not None:
            refuse_classes(self.class_names, targets)

    def _slope(self, logits: Floats, targets: Targets) -> Callable[[float], float]:
        return slope_of_classes(logits, targets.astype(np.int64))

    def _fit_thresholds(
        self, answers: npt.NDArray[np.float32], targets: Targets, metric: ThresholdMetric
    ) -> tuple[tuple[float, ...], list[str]]:
        return threshold_of_two_classes(answers, targets, metric)

    def named_thresholds(self) -> dict[str, float]:
        """Returns the threshold by the name of the second class."""
        threshold = self.decision.threshold
        return {} if threshold is None else {self.class_names[1]: threshold}

    def support(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Counts the texts of each class."""
        return np.bincount(targets, minlength=len(self.class_names))

    def having(self, targets: Targets, number: int) -> npt.NDArray[np.bool_]:
        """Tells which texts are of a class."""
        found: npt.NDArray[np.bool_] = targets == number
        return found

    def label_counts(self, answers: Array, targets: Targets) -> LabelCounts:
        """Counts the hits of each class."""
        matrix = self.confusion(answers, targets)
        return LabelCounts(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))


def _unnamed(number: int) -> str:
    return f"class {number}"
