"""The base class of tasks: targets, loss, metrics and answers of one kind of label.

The module does not import torch: reports are written without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.baselines import Baseline
from peft_lightning.task.calibration import Calibration, CalibrationSettings, Fitted
from peft_lightning.task.class_weights import ClassWeights
from peft_lightning.task.label_counts import LabelCounts
from peft_lightning.task.labelled_rows import LabelledRows
from peft_lightning.task.metric import LOSS, Metric
from peft_lightning.task.numbered_columns import numbered
from peft_lightning.task.task_settings import TaskSettings

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics

# What the file of a task imports to be one.
__all__ = ["Array", "Baseline", "HeadStart", "LabelledRows", "Targets", "Task", "TaskSettings"]

Array = npt.NDArray[Any]
Targets = Array


@dataclass(frozen=True)
class HeadStart:
    """Where a head that is not trained yet starts: its first answers are about these numbers.

    Args:
        means: Mean of each output's targets.
        scales: Standard deviation of each output's targets.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]


class Task(ABC):
    """Defines outputs, loss, metrics, answers, and the score of an answer for one kind of label.

    A task provides what has no default below: ``problem_type`` and ``headline``; ``suits`` and ``find``, from labels to
    targets; ``num_outputs``, ``labels_in_words``; ``loss``, ``metrics``, ``answer`` and ``score``; ``columns``,
    ``from_columns``, ``line`` and ``from_state``. All else it overrides where it has more to say than the default.

    ``headline`` is the metric that a run reports and that recipes are compared by. It is the mean of ``score`` over the
    examples, or minus that mean if lower is better. So statistical tests on scores test the metric that is shown.
    """

    problem_type: ClassVar[str]
    """The task's name: transformers' ``problem_type``, if it has one for the task."""
    headline: ClassVar[Metric]
    """The metric that a run reports."""
    others: ClassVar[tuple[Metric, ...]] = ()
    """The metrics that are shown beside it."""
    further: ClassVar[tuple[Metric, ...]] = ()
    """The metrics that are measured and recorded, and shown only where a user asks for them."""
    why_undefined: ClassVar[str] = "which leave it without a value"
    """What is wrong with rows that leave a metric undefined, as a clause after a comma."""
    label_word: ClassVar[str] = "label"
    """What the field calls a label of the task, such as ``class``."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """The names of the settings in ``TaskSettings`` that the task has."""

    @classmethod
    def shown(cls) -> tuple[Metric, ...]:
        """Returns the metrics of rows and tables, the headline first; the loss is not among them."""
        return (cls.headline, *cls.others)

    @classmethod
    def measured(cls) -> tuple[Metric, ...]:
        """Returns all metrics that every run of the task has, the headline first; the loss is not among them."""
        return (*cls.shown(), *cls.further)

    @classmethod
    def compared(cls) -> tuple[Metric, ...]:
        """Returns the metrics by which recipes can be compared, the headline first; those of labels come on top.

        Beside the headline they are those that ``pseudo_values`` knows.
        """
        return (cls.headline,)

    @property
    def of_labels(self) -> tuple[Metric, ...]:
        """The metrics of single labels, such as the recall of a class."""
        return ()

    @property
    def monitored(self) -> tuple[Metric, ...]:
        """All metrics that can be monitored, the loss among them."""
        return (*self.measured(), LOSS, *self.of_labels)

    @classmethod
    def metric(cls, name: str) -> Metric:
        """Finds a metric; for a name that is not the task's, higher is assumed to be better.

        Args:
            name: The name that is logged, such as ``val/acc``.
        """
        key = name.rpartition("/")[2]
        return next((metric for metric in (*cls.measured(), LOSS) if metric.key == key), Metric(key, key))

    # From labels.

    @classmethod
    @abstractmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Tells from its training rows whether a source is for this task."""

    @classmethod
    @abstractmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Makes targets of labels.

        Args:
            train: The training rows, which decide what labels there are.
            test: The test rows, if there are any.

        Returns:
            The task, the targets of the training rows, shape (n, …), and those of the test rows.

        Raises:
            UserError: If a label is not one of this task, or the test rows have a label that training lacks.
        """

    @classmethod
    def find_as_asked(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Makes targets as ``find`` does where the user has named the task: of labels too that look like another's.

        Args:
            train: The training rows, which decide what labels there are.
            test: The test rows, if there are any.
        """
        return cls.find(train, test)

    @property
    def found_in(self) -> str:
        """What in the labels this task was found from, such as ``lists of labels``; empty where it needs no word."""
        return ""

    def fitted(self, targets: Targets) -> Task:
        """Returns the task with what its loss needs to know of the targets that are trained on.

        Args:
            targets: The targets of the training subset, shape (n, …).
        """
        return self

    def configured(
        self,
        class_names: Sequence[str] | None,
        label_smoothing: float,
        class_weights: ClassWeights | None = None,
        focal_gamma: float = 0.0,
        huber_delta: float | None = None,
    ) -> Self:
        """Returns the task with the model's settings, which are those of ``TaskSettings``.

        Raises:
            UserError: If the task does not have these settings.
        """
        settings = TaskSettings(class_names, label_smoothing, class_weights, focal_gamma, huber_delta)
        settings.refuse_all_but(self.takes, self.problem_type)
        return self.with_settings(settings)

    def with_settings(self, settings: TaskSettings) -> Self:
        """Returns the task with the settings that it ``takes``; all others have been refused.

        Args:
            settings: The settings.

        Raises:
            UserError: If they do not go with each other, or with the labels.
        """
        return self

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Number of outputs of the head."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the head's outputs, for the model's configuration."""
        return self.label_names or tuple(f"LABEL_{number}" for number in range(self.num_outputs))

    @classmethod
    def of_outputs(cls, names: Sequence[str]) -> Task:
        """Restores a task from what ``output_names`` returned, as an exported model's configuration names its outputs.

        Args:
            names: The name of each output.

        Raises:
            KeyError: If there are none.
        """
        return cls.from_state({"problem_type": cls.problem_type, "class_names": list(names)})

    @property
    def head_start(self) -> HeadStart | None:
        """Where a new head starts; None for where transformers initialises it."""
        return None

    @property
    @abstractmethod
    def labels_in_words(self) -> str:
        """The number of labels in words, such as ``2 classes``."""

    def strata(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Groups targets for stratified subsets; by default all are in one group.

        Args:
            targets: The targets, shape (n, …).

        Returns:
            The group of each target, shape (n,).
        """
        return np.zeros(len(targets), dtype=np.int64)

    def baseline(self, targets: Targets) -> Baseline | None:
        """Computes the score of a model that has learned nothing; None if it says little.

        Args:
            targets: The targets of the evaluation, shape (n, …).
        """
        return None

    def undefined(self, targets: Targets) -> frozenset[str]:
        """Returns the keys of the metrics that are undefined on an evaluation, whatever the answers; none by default.

        Args:
            targets: The targets of the evaluation, shape (n, …).
        """
        return frozenset()

    # From logits.

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the training loss, without side effects.

        Args:
            logits: The model's outputs, float32, shape (batch, outputs).
            targets: The targets, shape (batch, …).

        Returns:
            The mean loss over the batch, a scalar.
        """

    @abstractmethod
    def metrics(self) -> EvaluationMetrics:
        """Returns new accumulators of the loss and all metrics of an evaluation."""

    @abstractmethod
    def answer(self, logits: Tensor) -> Tensor:
        """Computes answers from logits: they are saved after a test, and ``predict`` writes them.

        Args:
            logits: The model's outputs, float32, shape (batch, outputs).

        Returns:
            The answers, shape (batch, …).
        """

    @abstractmethod
    def score(self, answers: Array, targets: Targets) -> Array:
        """Scores each answer; higher is better.

        Args:
            answers: What ``answer`` returned, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            The scores, shape (n,): bool if answers are right or wrong, otherwise float.
        """

    # After training.

    @property
    def calibration(self) -> Calibration | None:
        """What was fitted on the validation split and changes answers; None for nothing."""
        return None

    def check_calibration(self, asked: CalibrationSettings, targets: Targets) -> None:
        """Refuses what cannot be fitted, before training.

        Args:
            asked: What is to be fitted.
            targets: The targets of the validation rows, shape (n, …).

        Raises:
            UserError: If the task has no probabilities, or the rows do not suffice.
        """
        if asked:
            name = "temperature" if asked.temperature else "thresholds"
            raise UserError(
                Setting(f"calibration.{name}"),
                f" is for probabilities, which {self.problem_type} has none of: leave it out",
            )

    def fit_calibration(self, asked: CalibrationSettings, logits: Array, targets: Targets) -> Fitted:
        """Fits a temperature, thresholds, or both.

        Args:
            asked: What is to be fitted.
            logits: The model's outputs on the validation rows, float32, shape (n, outputs).
            targets: Their targets, shape (n, …).
        """
        return Fitted(Calibration())

    def calibrated(self, calibration: Calibration | None) -> Task:
        """Returns the task with answers that follow a calibration; without probabilities there is nothing to change.

        Args:
            calibration: What was fitted; None for the answers of the model alone.
        """
        return self

    def calibration_in_words(self) -> list[str]:
        """Returns how a calibration changes answers, a sentence each; empty without one."""
        return []

    def named_thresholds(self) -> dict[str, float]:
        """Returns the fitted thresholds by the names of the labels that are answered above them."""
        return {}

    # How sure answers are.

    def confidences(self, answers: Array, targets: Targets) -> tuple[Array, Array] | None:
        """Returns how probable each decision is said to be, and whether it is right; None without probabilities.

        Args:
            answers: What ``answer`` returned, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            Probabilities and truth values, both of one dimension: a decision for each example, or for each of its
            labels.
        """
        return None

    def certainty(self, answers: Array) -> Array | None:
        """Returns how sure each example's whole answer is, higher is surer, shape (n,); None without probabilities.

        Args:
            answers: What ``answer`` returned, shape (n, …).
        """
        return None

    def pseudo_values(self, key: str, answers: Array, targets: Targets) -> Array:
        """Returns for each example the metric plus the example's influence on it, of which the metric is the mean.

        For a metric that is a mean over examples these are what each of them has. By default there is the headline
        alone.

        Args:
            key: The key of a metric of ``compared`` or ``of_labels``.
            answers: What ``answer`` returned, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            The values, in the metric's own direction, shape (n,): bool if they say which answers are right, all NaN if
            the metric is undefined.

        Raises:
            KeyError: If there is no such metric.
        """
        if key != self.headline.key:
            raise KeyError(key)
        scores = self.score(answers, targets)
        return scores if self.headline.higher_is_better else -scores

    # On disk and in answers that are written.

    def label_columns(self, targets: Targets) -> dict[str, Array]:
        """Splits targets into columns of plain values for a table, ``label`` or ``label_0``, ``label_1``, ….

        Args:
            targets: The targets, shape (n, …).

        Returns:
            Columns by name, each of shape (n,).
        """
        return numbered("label", targets)

    @abstractmethod
    def columns(self, answers: Array) -> dict[str, Array]:
        """Splits answers into columns of plain values for a table, ``prediction`` first.

        Args:
            answers: What ``answer`` returned, shape (n, …).

        Returns:
            Columns by name, each of shape (n,).
        """

    def answer_columns(self, answers: Array) -> dict[str, Array]:
        """Splits answers into the columns that ``predict`` writes to CSV and Parquet; by default those of ``columns``.

        Args:
            answers: What ``answer`` returned, shape (n, …).

        Returns:
            Columns by name, each of shape (n,).
        """
        return self.columns(answers)

    @classmethod
    @abstractmethod
    def from_columns(cls, columns: Mapping[str, Array], state: Mapping[str, Any]) -> tuple[Task, Targets, Array]:
        """Restores answers from the columns of a table.

        Args:
            columns: What ``label_columns`` and ``columns`` returned.
            state: What ``state`` returned; runs that are older than a part of it lack that part.

        Returns:
            The task, the targets, shape (n, …), and the answers, shape (n, …).

        Raises:
            KeyError: If a column is missing.
            ValueError: If the columns hold no answers of this task.
        """

    @abstractmethod
    def line(self, answer: Any) -> dict[str, Any]:
        """Returns an answer as the content of a JSON line of ``predict``.

        Args:
            answer: One answer, in plain Python numbers.
        """

    def state(self) -> dict[str, Any]:
        """Returns the task's state for checkpoints, in plain values."""
        return {"problem_type": self.problem_type}

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Task:
        """Restores the task that a checkpoint was trained for.

        Args:
            state: What ``state`` returned; other values in it are ignored.

        Raises:
            KeyError: If a value is missing.
        """

    # In words and in reports.

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their numbers; empty if they have none."""
        return ()

    def label_in_words(self, target: Any) -> str:
        """Returns a target in words."""
        return f"{target:g}"

    def answer_in_words(self, answer: Any) -> str:
        """Returns an answer in words, as ``label_in_words`` does a target; empty if the score says it all.

        Args:
            answer: One answer, in plain Python numbers.
        """
        return ""

    def confusion(self, answers: Array, targets: Targets) -> npt.NDArray[np.int64] | None:
        """Computes the confusion matrix; None if the task has no classes.

        Args:
            answers: What ``answer`` returned, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            Counts, shape (classes, classes): rows are true classes, columns are predicted ones.
        """
        return None

    def support(self, targets: Targets) -> npt.NDArray[np.int64] | None:
        """Counts the texts that have each class or label; None if the task has neither.

        Args:
            targets: The targets, shape (n, …).

        Returns:
            Counts, shape (labels,).
        """
        return None

    def having(self, targets: Targets, number: int) -> npt.NDArray[np.bool_]:
        """Tells which texts have a class or label; asked only of tasks with ``support``.

        Args:
            targets: The targets, shape (n, …).
            number: The number of the class or label.

        Returns:
            Flags, shape (n,).
        """
        raise NotImplementedError(f"{self.problem_type} has neither classes nor labels")

    def label_counts(self, answers: Array, targets: Targets) -> LabelCounts | None:
        """Counts hits of each class or label; None if the task has neither.

        Args:
            answers: What ``answer`` returned, shape (n, …).
            targets: Their targets, shape (n, …).
        """
        return None

    def as_numbers(self, values: Array) -> Array | None:
        """Returns answers or targets as the numbers that they are; None if they are none.

        Args:
            values: What ``answer`` returned, or targets, shape (n, …).

        Returns:
            The numbers, shape (n, numbers), named by ``output_names``.
        """
        return None
