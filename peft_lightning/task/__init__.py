"""Tasks: what labels mean, and the registry that finds a run's task by its labels or its problem type.

A new task is a file here and a line in ``TASKS``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.base import LabelledRows, Targets, Task
from peft_lightning.task.baselines import Baseline
from peft_lightning.task.class_weights import ClassWeights
from peft_lightning.task.label_metrics import ECE, OF_ONE
from peft_lightning.task.metric import Metric, recorded
from peft_lightning.task.multi_label import MultiLabel
from peft_lightning.task.regression import Regression
from peft_lightning.task.single_label import SingleLabel

__all__ = [
    "FIRST",
    "TASKS",
    "Baseline",
    "ClassWeights",
    "Metric",
    "MultiLabel",
    "Regression",
    "SingleLabel",
    "Task",
    "find_task",
    "headline_with",
    "metric_problem",
    "problem_type_in",
    "recorded",
    "task_named",
]

TASKS: dict[str, type[Task]] = {kind.problem_type: kind for kind in (SingleLabel, MultiLabel, Regression)}
# The task of runs that do not name theirs: they were written when it was the only task.
FIRST: type[Task] = SingleLabel


def find_task(
    train: LabelledRows, test: LabelledRows | None, problem_type: str | None = None
) -> tuple[Task, Targets, Targets | None]:
    """Finds the task that the labels are for; the first task takes labels that no later one suits.

    Args:
        train: The training rows.
        test: The test rows, if there are any.
        problem_type: The task that the user has named; None to find it from the training labels.

    Returns:
        The task, the targets of the training rows, shape (n, …), and those of the test rows.

    Raises:
        UserError: If the labels cannot be used.
    """
    if problem_type is not None:
        if problem_type not in TASKS:
            raise UserError(
                f"problem_type {problem_type[:60]!r} is unknown: one of {', '.join(TASKS)} goes with ",
                Setting("model.problem_type"),
            )
        return TASKS[problem_type].find_as_asked(train, test)
    kind = next(kind for kind in reversed(TASKS.values()) if kind.suits(train))
    return kind.find(train, test)


def task_named(problem_type: str) -> type[Task]:
    """Finds a task by its problem type.

    Raises:
        UserError: If this version of the program does not know it.
    """
    if problem_type not in TASKS:
        raise UserError(
            f"problem_type {problem_type[:60]} is not known to this version of peft-lightning (it knows"
            f" {', '.join(TASKS)}): use the version that made the run"
        )
    return TASKS[problem_type]


def headline_with(key: str) -> Metric:
    """Returns the headline metric of a task by its key; no two tasks' headlines have one key.

    >>> headline_with("acc").words(0.5625), headline_with("mae").words(0.00123)
    ('56.2 %', '0.00123')
    """
    return next(kind.headline for kind in TASKS.values() if kind.headline.key == key)


def metric_problem(
    key: str, kinds: Collection[type[Task]] | None = None, of_labels: Sequence[str] | None = None
) -> str | None:
    """Says why recipes cannot be compared by a metric; None if they can.

    Args:
        key: The metric's key.
        kinds: The tasks that the runs may have; None for all.
        of_labels: The keys of metrics of single labels; None if labels are not known yet, so that any is taken.
    """
    kinds = TASKS.values() if kinds is None else kinds
    word, dot, _ = key.partition(".")
    if any(metric.key == key for kind in kinds for metric in kind.compared()):
        return None
    if key in of_labels if of_labels is not None else dot and word in OF_ONE:
        return None
    if key == ECE.key:
        return "has a bias as large as what it is to tell apart: compare brier or log_loss"
    listed = [f"{kind.problem_type} has {', '.join(metric.key for metric in kind.compared())}" for kind in kinds]
    example = next((f", and {label} and the like" for label in of_labels or () if label.startswith("f1.")), "")
    return f"is no metric that recipes can be compared by: {'; '.join(listed)}{example}"


def problem_type_in(state: Mapping[str, Any]) -> str:
    """Returns the problem type that a checkpoint or a file of predictions names.

    Args:
        state: The task's state in that file; older files do not name the problem type.
    """
    return str(state.get("problem_type", FIRST.problem_type))
