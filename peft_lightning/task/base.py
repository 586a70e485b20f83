"""What a task is: what labels mean, and everything that follows from that.

Nothing here needs torch before it is used: reports are written without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.task.metric import LOSS, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics

Array = npt.NDArray[Any]
Targets = Array


class LabelledRows(Protocol):
    """Rows with labels as their source spells them."""

    @property
    def name(self) -> str:
        """What an error message calls the rows."""
        ...

    @property
    def labels(self) -> Sequence[object]:
        """The labels: numbers, words or truth values."""
        ...

    @property
    def label_names(self) -> Sequence[str] | None:
        """Names of the labels 0, 1, …, where the source carries them."""
        ...


@dataclass(frozen=True)
class Baseline:
    """What a model reaches that has learned nothing.

    Args:
        value: Its headline metric.
        margin: What a model must be better by, as much as the metric may be off on so few examples.
        words: What the value is, such as ``the share of the most frequent class``.
    """

    value: float
    margin: float
    words: str


class Task(ABC):
    """What labels mean: outputs, loss, metrics, answers, and the score of an answer.

    ``headline`` is the metric that a run ends with and that recipes are compared by. It is the mean of ``score`` over
    the examples, or minus that mean where lower is better, so that what is tested is what is shown.
    """

    problem_type: ClassVar[str]
    """Its name, which is transformers' where that has one."""
    headline: ClassVar[Metric]
    """The metric that a run ends with."""
    others: ClassVar[tuple[Metric, ...]] = ()
    """The metrics that are shown beside it."""

    @classmethod
    def shown(cls) -> tuple[Metric, ...]:
        """Returns all metrics, the headline first; the loss is not among them."""
        return (cls.headline, *cls.others)

    @classmethod
    def metric(cls, name: str) -> Metric:
        """Finds a metric; of one that is not the task's it is taken that more is better.

        Args:
            name: As it is logged, such as ``val/acc``.
        """
        key = name.rpartition("/")[2]
        return next((metric for metric in (*cls.shown(), LOSS) if metric.key == key), Metric(key, key))

    # From labels.

    @classmethod
    @abstractmethod
    def suits(cls, rows: LabelledRows) -> bool:
        """Tells from its training rows whether a source is one for this task.

        Args:
            rows: The training rows.
        """

    @classmethod
    @abstractmethod
    def find(cls, train: LabelledRows, test: LabelledRows | None) -> tuple[Task, Targets, Targets | None]:
        """Makes targets of labels.

        Args:
            train: The training rows, which decide what labels there are.
            test: The test rows, if there are some.

        Returns:
            The task, the targets of the training rows, shape (n, …), and those of the test rows.

        Raises:
            UserError: A label is none, or the test rows have one that training lacks.
        """

    def configured(self, class_names: Sequence[str] | None, label_smoothing: float) -> Task:
        """Makes of the task what the model's settings make of it.

        Args:
            class_names: Names for the classes; None for the data's own.
            label_smoothing: Share of the target's probability that is spread over all classes.

        Raises:
            UserError: The settings do not go with the task.
        """
        if class_names is not None:
            raise UserError(f"model.class_names names classes, which {self.problem_type} has none of: leave it out")
        if label_smoothing:
            raise UserError(f"model.label_smoothing smooths classes, which {self.problem_type} has none of: leave it 0")
        return self

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """How many outputs the head has."""

    @property
    @abstractmethod
    def labels_in_words(self) -> str:
        """What labels there are, such as ``2 classes``."""

    def strata(self, targets: Targets) -> npt.NDArray[np.int64]:
        """Groups targets so that a subset can hold them in proportion; all are of one group by default.

        Args:
            targets: The targets, shape (n, …).

        Returns:
            The group of each, shape (n,).
        """
        return np.zeros(len(targets), dtype=np.int64)

    def baseline(self, targets: Targets) -> Baseline | None:
        """Works out what a model reaches that has learned nothing; None where that says little.

        Args:
            targets: The targets that it is measured on, shape (n, …).
        """
        return None

    # From logits.

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Computes the training loss, and does nothing else.

        Args:
            logits: (batch, outputs), in 32-bit floats.
            targets: (batch, …).

        Returns:
            The mean over the batch, a scalar.
        """

    @abstractmethod
    def metrics(self) -> EvaluationMetrics:
        """Returns what gathers the loss and all metrics over an evaluation."""

    @abstractmethod
    def answer(self, logits: Tensor) -> Tensor:
        """Makes answers of logits: what is kept of a test, and what ``predict`` tells.

        Args:
            logits: (batch, outputs), in 32-bit floats.

        Returns:
            (batch, …).
        """

    @abstractmethod
    def score(self, answers: Array, targets: Targets) -> Array:
        """Says of each answer how good it is; higher is better.

        Args:
            answers: As ``answer`` made them, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            Whether each is right, bool, or else floats; shape (n,).
        """

    # On disk.

    @abstractmethod
    def columns(self, answers: Array) -> dict[str, Array]:
        """Sets answers in columns of plain values, ``prediction`` the first.

        Args:
            answers: As ``answer`` made them, shape (n, …).

        Returns:
            Columns by name, each of shape (n,).
        """

    @classmethod
    @abstractmethod
    def from_columns(cls, columns: Mapping[str, Array], state: Mapping[str, Any]) -> tuple[Task, Targets, Array]:
        """Takes answers out of the columns that hold them.

        Args:
            columns: ``label`` and what ``columns`` made.
            state: What ``state`` made; runs from before it was written lack parts of it.

        Returns:
            The task, the targets, shape (n, …), and the answers, shape (n, …).

        Raises:
            KeyError: A column is missing.
            ValueError: The columns hold no answers of this task.
        """

    @abstractmethod
    def line(self, answer: Any) -> dict[str, Any]:
        """Words an answer as a line of ``predict``.

        Args:
            answer: One answer, in Python's own numbers.
        """

    def label_in_words(self, target: Any) -> str:
        """Words a target.

        Args:
            target: One target.
        """
        return f"{target:g}"

    def confusion(self, answers: Array, targets: Targets) -> npt.NDArray[np.int64] | None:
        """Counts how often each class was taken for each; None where there are no classes.

        Args:
            answers: As ``answer`` made them, shape (n, …).
            targets: Their targets, shape (n, …).

        Returns:
            Counts, shape (classes, classes): rows are true classes, columns are answers.
        """
        return None

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels are called, in the order of their numbers; empty where they have no names."""
        return ()

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps of the task, in plain values."""
        return {"problem_type": self.problem_type}

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Task:
        """Makes the task that a checkpoint was trained for.

        Args:
            state: What ``state`` made, perhaps among other values.

        Raises:
            KeyError: It is not there.
        """
