"""Regression: every text has a number, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from peft_lightning.errors import UserError
from peft_lightning.task.base import Array, HeadStart, LabelledRows, Targets, Task, TaskSettings
from peft_lightning.task.baselines import Baseline, baseline_of_numbers
from peft_lightning.task.label_numbers import label_numbers, spells_numbers
from peft_lightning.task.metric import Metric
from peft_lightning.task.numbered_columns import numbered, together
from peft_lightning.task.undefined_metrics import undefined_of_numbers

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics

# What a model's configuration calls a single number; transformers' own name for it is LABEL_0.
_ONLY = "value"


@dataclass(frozen=True)
class Regression(Task):
    """A number for each text, or several; the lower the mean absolute error, the better.

    The outputs of the head are the numbers themselves, as in transformers, so that an exported model answers them. For
    labels of any size to be learned at the same learning rate, a new head starts at the mean of the training labels
    with their spread, and losses are divided by their variance: 1 is what the mean itself would have.

    Args:
        names: Names of the numbers if a text has several; empty for one.
        huber_delta: Error from which the training loss grows linearly, in the unit of the labels (Huber 1964); None
            for the squared error.
        means: Mean of each number over the training rows; None where it is not known.
        scales: Standard deviation of each number over the training rows; None where it is not known.
        found_in: What in the labels the task was found from.
    """

    names: tuple[str, ...] = ()
    huber_delta: float | None = None
    means: tuple[float, ...] | None = field(default=None, compare=False)
    scales: tuple[float, ...] | None = field(default=None, compare=False)
    found_in: str = field(default="", compare=False)

    problem_type: ClassVar[str] = "regression"
    headline: ClassVar[Metric] = Metric("mae", "mean absolute error", higher_is_better=False, lowest=0.0)
    others: ClassVar[tuple[Metric, ...]] = (
        Metric("rmse", "RMSE", higher_is_better=False, lowest=0.0),
        Metric("pearson", "Pearson", lowest=-1.0, highest=1.0, correlates="numbers"),
    )
    further: ClassVar[tuple[Metric, ...]] = (
        Metric("r2", "R²", highest=1.0),
        Metric("spearman", "Spearman", lowest=-1.0, highest=1.0, correlates="ranks"),
    )
    why_undefined: ClassVar[str] = "which all have the same label"
    takes: ClassVar[frozenset[str]] = frozenset(("huber_delta",))

    @classmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Tells whether labels are decimals, lists with decimals, or several columns of numbers."""
        return spells_numbers(rows)

    @classmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Reads the numbers."""
        numbers = label_numbers(train, test)
        return cls(numbers.names, found_in=numbers.spelling), numbers.train, numbers.test

    @classmethod
    def find_as_asked(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Reads the numbers, which may also be whole."""
        numbers = label_numbers(train, test, asked=True)
        return cls(numbers.names), numbers.train, numbers.test

    def fitted(self, targets: Targets) -> Regression:
        """Computes mean and spread of the training labels."""
        flat = targets.reshape(len(targets), -1).astype(np.float64)
        spread = flat.std(axis=0)
        # A subset may have one number alone.
        scales = np.where(spread > 0, spread, 1.0)
        return replace(self, means=tuple(flat.mean(axis=0).tolist()), scales=tuple(scales.tolist()))

    def with_settings(self, settings: TaskSettings) -> Self:
        """Sets where the loss becomes linear."""
        return replace(self, huber_delta=settings.huber_delta)

    @property
    def num_outputs(self) -> int:
        """Number of outputs: one per number."""
        return max(1, len(self.names))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return self.names or (_ONLY,)

    @classmethod
    def of_outputs(cls, names: Sequence[str]) -> Regression:
        """Restores the task from the names of its outputs; a single number has no name of its own.

        Args:
            names: The name of each output.
        """
        return cls(() if list(names) in ([_ONLY], ["LABEL_0"]) else tuple(names))

    @property
    def head_start(self) -> HeadStart | None:
        """Returns mean and spread of the training labels; None where they are not known."""
        return None if self.means is None or self.scales is None else HeadStart(self.means, self.scales)

    @property
    def labels_in_words(self) -> str:
        """The number of numbers in words."""
        what = f"{len(self.names)} numbers a text" if self.names else "numbers"
        if self.names or self.means is None or self.scales is None:
            return what
        return f"{what} of {self.means[0]:.3g} ± {self.scales[0]:.2g}"

    def baseline(self, targets: Targets) -> Baseline:
        """Computes the error of answering the median, with two standard errors."""
        return baseline_of_numbers(targets)

    def undefined(self, targets: Targets) -> frozenset[str]:
        """Returns R² and the correlations if all labels are the same."""
        return undefined_of_numbers(targets)

    @classmethod
    def compared(cls) -> tuple[Metric, ...]:
        """Returns all metrics."""
        return cls.measured()

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the mean squared or Huber loss, in units of the training labels' variance."""
        from torch.nn import functional as F

        answers = self.answer(logits)
        if self.huber_delta is None:
            losses = F.mse_loss(answers, targets, reduction="none")
        else:
            losses = F.huber_loss(answers, targets, reduction="none", delta=self.huber_delta)
        return self._in_variances(losses).mean()

    def _in_variances(self, losses: Tensor) -> Tensor:
        from peft_lightning.task.losses import constant

        if self.scales is None:
            return losses
        inverse = constant(tuple(scale**-2 for scale in self.scales), losses.device)
        return losses * (inverse if losses.ndim > 1 else inverse[0])

    def metrics(self) -> EvaluationMetrics:
        """Returns accumulators of all metrics, and of the squared error in units of the training labels' variance."""
        from peft_lightning.task.evaluation_metrics import EvaluationMetrics
        from peft_lightning.task.number_figures import number_figures

        return EvaluationMetrics(
            lambda logits, targets: (
                self._in_variances((self.answer(logits) - targets) ** 2).reshape(len(targets), -1).mean(dim=-1)
            ),
            {},
            self.answer,
            figures=number_figures,
            keys=[metric.key for metric in self.measured()],
        )

    def answer(self, logits: Tensor) -> Tensor:
        """Returns the numbers, shape (batch,), or (batch, numbers) if a text has several."""
        return logits if self.names else logits.squeeze(-1)

    def score(self, answers: Array, targets: Targets) -> Array:
        """Returns the negative absolute error of each text, the mean of several numbers."""
        errors = np.abs(answers.astype(np.float64) - targets.astype(np.float64))
        scores: Array = -errors.reshape(len(errors), -1).mean(axis=1)
        return scores

    def pseudo_values(self, key: str, answers: Array, targets: Targets) -> Array:
        """Returns the pseudo-values of a metric."""
        from peft_lightning.task.pseudo_values import pseudo_values_of_numbers

        if key == self.headline.key:
            return super().pseudo_values(key, answers, targets)
        return pseudo_values_of_numbers(key, answers, targets)

    def columns(self, answers: Array) -> dict[str, Array]:
        """Returns the numbers."""
        return numbered("prediction", answers)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], state: Mapping[str, Any]) -> tuple[Task, Targets, Array]:
        """Restores answers and their labels."""
        targets, answers = together("label", columns), together("prediction", columns)
        names = state.get("label_names") or []
        if (
            targets.shape != answers.shape
            or not len(targets)
            or len(names) != (0 if answers.ndim == 1 else answers.shape[1])
        ):
            raise ValueError("no answers to as many numbers as there are labels")
        return cls(tuple(map(str, names))), targets, answers

    def line(self, answer: Any) -> dict[str, Any]:
        """Returns the number, or the numbers by their names."""
        if not self.names:
            return {"value": _rounded(answer)}
        return {"values": {name: _rounded(value) for name, value in zip(self.names, answer, strict=True)}}

    def label_in_words(self, target: Any) -> str:
        """Returns the number, or the numbers with their names."""
        if not self.names:
            return f"{target:g}"
        return ", ".join(f"{name} {value:g}" for name, value in zip(self.names, target, strict=True))

    def answer_in_words(self, answer: Any) -> str:
        """Returns the number, or the numbers with their names, to three digits."""
        if not self.names:
            return f"{answer:.3g}"
        return ", ".join(f"{name} {value:.3g}" for name, value in zip(self.names, answer, strict=True))

    def as_numbers(self, values: Array) -> Array:
        """Returns the numbers of each text."""
        return values.reshape(len(values), -1).astype(np.float64)

    def state(self) -> dict[str, Any]:
        """Returns the problem type, and the names of several numbers."""
        return super().state() | ({"label_names": list(self.names)} if self.names else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Regression:
        """Restores the task from the names of its numbers."""
        names = state.get("label_names") or []
        if not isinstance(names, list):
            raise UserError(f"label_names is {names!r}: use best.ckpt or last.ckpt of a run")
        return cls(tuple(map(str, names)))


def _rounded(value: float) -> float:
    """Rounds to seven digits, as many as 32 bits hold."""
    return float(f"{value:.7g}")
