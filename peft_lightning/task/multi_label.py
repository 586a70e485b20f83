"""Multi-label classification: every text has any number of labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from peft_lightning.task.base import Array, LabelledRows, Targets, Task, TaskSettings
from peft_lightning.task.baselines import Baseline, baseline_of_sets
from peft_lightning.task.calibration import Calibration, CalibrationSettings, ThresholdMetric
from peft_lightning.task.class_weights import weights_of_labels
from peft_lightning.task.classification import Classification
from peft_lightning.task.decisions import LabelDecision
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
from peft_lightning.task.label_sets import label_sets, spells_sets
from peft_lightning.task.metric import Metric
from peft_lightning.task.numbered_columns import numbered, together
from peft_lightning.task.temperature import Floats, slope_of_labels
from peft_lightning.task.thresholds import HALF, refuse_labels, thresholds_of_labels
from peft_lightning.task.undefined_metrics import undefined_of_sets

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics


@dataclass(frozen=True)
class MultiLabel(Classification):
    """Multi-label classification with one or more labels, each of which a text has or has not.

    The headline is the F1 of each text's set of labels, of which the mean is taken: it is a score of every text, as
    paired tests need it. A text that has no label and gets none scores 1.

    Args:
        class_names: Names of the labels, in the order of their numbers.
        weights: What a text counts in the training loss of a label that has it, and that lacks it; None for the same.
        focal_gamma: Exponent of the focal loss; 0 for none.
        shares: Share of the training rows that have each label; None where it is not known.
        found_in: What in the labels the task was found from.
        calibration: What was fitted on the validation split and changes answers.
    """

    class_names: tuple[str, ...]
    weights: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    focal_gamma: float = 0.0
    shares: tuple[float, ...] | None = field(default=None, compare=False)
    found_in: str = field(default="", compare=False)
    calibration: Calibration | None = None

    problem_type: ClassVar[str] = "multi_label_classification"
    headline: ClassVar[Metric] = Metric(
        "f1_samples", "F1 by text", percent=True, lowest=0.0, highest=1.0, adjective="accurate"
    )
    others: ClassVar[tuple[Metric, ...]] = (Metric("subset_acc", "subset accuracy", lowest=0.0, highest=1.0), F1)
    further: ClassVar[tuple[Metric, ...]] = (
        *(F1_MICRO, F1_WEIGHTED),
        Metric("hamming", "Hamming loss", higher_is_better=False, lowest=0.0, highest=1.0),
        Metric("lrap", "label ranking precision", lowest=0.0, highest=1.0),
        *(AUROC, PR_AUC, LOG_LOSS, BRIER, ECE),
    )
    why_undefined: ClassVar[str] = "of which all or none have a label"
    takes: ClassVar[frozenset[str]] = frozenset(("class_names", "class_weights", "focal_gamma"))

    @classmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Tells whether labels are lists, delimited words, or several columns of 0 and 1."""
        return spells_sets(rows)

    @classmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Finds the labels and which rows have them."""
        sets = label_sets(train, test)
        return cls(sets.names, found_in=sets.spelling), sets.train, sets.test

    @classmethod
    def find_as_asked(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Finds the labels, which may also be single words or separated by commas."""
        sets = label_sets(train, test, asked=True)
        return cls(sets.names), sets.train, sets.test

    def fitted(self, targets: Targets) -> MultiLabel:
        """Counts the training rows with each label."""
        return replace(self, shares=tuple(targets.mean(axis=0, dtype=np.float64).tolist()))

    def with_settings(self, settings: TaskSettings) -> Self:
        """Renames and weighs the labels."""
        names, asked = settings.names_of(self.class_names, "labels"), settings.class_weights
        weights = None
        # A task that answers only has no shares, and no use for weights.
        if asked is not None and self.shares is not None:
            weights = weights_of_labels(asked, np.array(self.shares), names)
        return replace(self, class_names=names, weights=weights, focal_gamma=settings.focal_gamma)

    @property
    def labels_in_words(self) -> str:
        """The number of labels in words, with how many a text has."""
        mean = "" if self.shares is None else f" ({sum(self.shares):.1f} a text)"
        return f"{len(self.class_names)} label{'' if len(self.class_names) == 1 else 's'}{mean}"

    def strata(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Groups targets by their rarest label, so that a subset has its share of it."""
        frequency = targets.sum(axis=0, dtype=np.int64)
        rarest_first = np.argsort(frequency, kind="stable")
        groups: npt.NDArray[np.int64] = np.where(
            targets.any(axis=1), targets[:, rarest_first].argmax(axis=1), targets.shape[1]
        ).astype(np.int64)
        return groups

    def baseline(self, targets: Targets) -> Baseline:
        """Computes the best score of giving all texts the same most frequent labels, with two standard errors."""
        return baseline_of_sets(targets, self.score)

    def undefined(self, targets: Targets) -> frozenset[str]:
        """Returns the metrics of labels that no example has, and of all labels if none is told apart."""
        return undefined_of_sets(targets, self.class_names)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the mean binary cross entropy over examples and labels, weighted or focal if asked."""
        from peft_lightning.task.losses import loss_of_sets

        return loss_of_sets(logits, targets, self.weights, self.focal_gamma)

    def metrics(self) -> EvaluationMetrics:
        """Returns accumulators of all metrics, and of the binary cross entropy without weights and focus."""
        from torch.nn import functional as F

        from peft_lightning.task.evaluation_metrics import EvaluationMetrics
        from peft_lightning.task.set_figures import set_figures

        # A temperature alone changes no decision, whatever its rounding.
        deciding = self if self.thresholds is not None else self.calibrated(None)
        return EvaluationMetrics(
            lambda logits, targets: F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").mean(
                dim=-1
            ),
            {},
            deciding.answer,
            figures=lambda logits, answers, targets: set_figures(
                logits, targets, deciding.decision.of(answers), deciding.score(answers, targets), self.class_names
            ),
            keys=[metric.key for metric in (*self.measured(), *self.of_labels)],
            scaled=self.scaling,
        )

    def answer(self, logits: Tensor) -> Tensor:
        """Computes the probability of each label, shape (batch, labels)."""
        return self.tempered(logits).sigmoid()

    @property
    def decision(self) -> LabelDecision:
        """Which labels a text gets: those that are more probable than not, or than was fitted."""
        return LabelDecision(self.thresholds)

    def confidences(self, answers: Array, targets: Targets) -> tuple[Array, Array]:
        """Returns for each label of each example how probable it is to be there or to be absent, and which is right."""
        confidence = np.maximum(answers, 1 - answers)
        return confidence.ravel(), ((answers > HALF) == targets.astype(bool)).ravel()

    def certainty(self, answers: Array) -> Array:
        """Returns the logarithm of the probability that all labels of a text are right, if they were independent."""
        sure: Array = np.log(np.maximum(answers, 1 - answers).astype(np.float64)).sum(axis=-1)
        return sure

    def score(self, answers: Array, targets: Targets) -> Array:
        """Computes the F1 of each text's set of labels, 1 where both sets are empty."""
        chosen, true = self.decision.of(answers), targets.astype(bool)
        hits = (chosen & true).sum(axis=1)
        size = chosen.sum(axis=1) + true.sum(axis=1)
        scores: Array = np.where(size > 0, 2 * hits / np.maximum(size, 1), 1.0)
        return scores

    def pseudo_values(self, key: str, answers: Array, targets: Targets) -> Array:
        """Returns the pseudo-values of a metric of all labels or of one, such as ``f1.toxic``."""
        from peft_lightning.task.pseudo_values import pseudo_values_of_sets

        if key == self.headline.key:
            return super().pseudo_values(key, answers, targets)
        return pseudo_values_of_sets(key, answers, targets, self.decision.of(answers), self.class_names)

    def columns(self, answers: Array) -> dict[str, Array]:
        """Returns whether each label is answered, and its probability."""
        chosen = self.decision.of(answers).astype(np.int8)
        return numbered("prediction", chosen) | numbered("probability", answers)

    def answer_columns(self, answers: Array) -> dict[str, Array]:
        """Returns the names of the answered labels, a JSON list, before the columns that number them."""
        names, chosen = np.asarray(self.class_names, dtype=object), self.decision.of(answers)
        labels = [json.dumps(names[row].tolist(), ensure_ascii=False) for row in chosen]
        return {"labels": np.asarray(labels, dtype=np.str_), **self.columns(answers)}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], state: Mapping[str, Any]) -> tuple[Task, Targets, Array]:
        """Restores answers; there are as many labels as columns of probabilities."""
        targets, answers = together("label", columns), together("probability", columns)
        names = state["class_names"]
        if targets.shape != answers.shape or not np.isin(targets, (0, 1)).all():
            raise ValueError("no answers to labels that are 0 or 1")
        if not isinstance(names, list) or len(names) != answers.shape[1]:
            raise ValueError(f"no names of {answers.shape[1]} labels")
        return cls(tuple(map(str, names))), targets.astype(np.int8), answers

    def line(self, answer: Any) -> dict[str, Any]:
        """Returns the labels that are answered, and the probabilities of all."""
        chosen = zip(self.class_names, self.decision.of_one(answer), strict=True)
        return {
            "labels": [name for name, has in chosen if has],
            "probabilities": self.named_probabilities(answer),
        }

    def label_in_words(self, target: Any) -> str:
        """Returns the names of the labels of a text."""
        return ", ".join(name for name, has in zip(self.class_names, target, strict=True) if has) or "none"

    def check_calibration(self, asked: CalibrationSettings, targets: Targets) -> None:
        """Refuses thresholds where the validation rows tell no label apart."""
        if asked.thresholds is not None:
            refuse_labels(targets)

    def _slope(self, logits: Floats, targets: Targets) -> Callable[[float], float]:
        return slope_of_labels(logits, targets.astype(bool))

    def _fit_thresholds(
        self, answers: npt.NDArray[np.float32], targets: Targets, metric: ThresholdMetric
    ) -> tuple[tuple[float, ...], list[str]]:
        return thresholds_of_labels(answers, targets, metric, self.class_names)

    def named_thresholds(self) -> dict[str, float]:
        """Returns the thresholds by label."""
        return {} if self.thresholds is None else dict(zip(self.class_names, self.thresholds, strict=True))

    def answer_in_words(self, answer: Any) -> str:
        """Returns the names of the labels that are answered."""
        return self.label_in_words(self.decision.of(np.asarray(answer)[np.newaxis])[0])

    def support(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Counts the texts that have each label."""
        counts: npt.NDArray[np.int64] = targets.astype(bool).sum(axis=0)
        return counts

    def having(self, targets: Targets, number: int) -> npt.NDArray[np.bool_]:
        """Tells which texts have a label."""
        found: npt.NDArray[np.bool_] = targets[:, number].astype(bool)
        return found

    def label_counts(self, answers: Array, targets: Targets) -> LabelCounts:
        """Counts the hits of each label."""
        chosen, true = self.decision.of(answers), targets.astype(bool)
        return LabelCounts((chosen & true).sum(axis=0), true.sum(axis=0), chosen.sum(axis=0))
