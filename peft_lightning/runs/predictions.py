"""The answers of a run to every test review: writes and reads ``predictions.parquet``."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.runs.files import atomic_file
from peft_lightning.task import Task, problem_type_in, task_named

PROBLEM_TYPE = "problem_type"
# The prefix of pyarrow's own entries in a file's metadata.
ARROW = "ARROW:"
TOKENS = "tokens"


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one trained model to N test reviews.

    Args:
        ids: Row of each review in the test split of its source, shape (N,); ascending if read from a file.
        labels: Target of each review, shape (N, …).
        answers: The task's answers, made from the model's logits, shape (N, …).
        task: The task of the labels and answers.
        lengths: Number of tokens of each review as the model read it, cut and with special tokens, shape (N,); None
            where it is not known, as of older runs.
    """

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    answers: npt.NDArray[Any]
    task: Task
    lengths: npt.NDArray[np.int64] | None = None

    @cached_property
    def scores(self) -> npt.NDArray[Any]:
        """Score of each answer, higher is better: bool if answers are right or wrong, otherwise float; shape (N,)."""
        return self.task.score(self.answers, self.labels)

    @property
    def right_or_wrong(self) -> bool:
        """Whether each answer is either right or wrong, with nothing in between."""
        return self.scores.dtype == np.bool_

    def of_same_reviews(self, other: "Answers") -> bool:
        """Tells whether both runs answered the same task, for reviews with the same rows and labels."""
        return (
            self.task.problem_type == other.task.problem_type
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.labels, other.labels)
        )

    def confusion(self) -> npt.NDArray[np.int64] | None:
        """Computes the confusion matrix; None if the task has no classes.

        Returns:
            Counts, shape (classes, classes): rows are true classes, columns are predicted ones.
        """
        return self.task.confusion(self.answers, self.labels)


def write_answers(path: Path, answers: Answers) -> None:
    """Writes one row per review, in the order of the source's split: row number, label, the task's columns, length.

    The state of the task, such as the names of classes, goes into the metadata, for readers without the data source.

    Raises:
        UserError: If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = np.argsort(answers.ids, kind="stable")
    task = answers.task
    columns = task.label_columns(answers.labels[order]) | task.columns(answers.answers[order])
    table = {"index": answers.ids[order]} | columns
    if answers.lengths is not None:
        table[TOKENS] = answers.lengths[order].astype(np.int32)
    metadata = {name: value if name == PROBLEM_TYPE else json.dumps(value) for name, value in task.state().items()}
    with atomic_file(path) as file:
        pq.write_table(pa.table(table, metadata=metadata), file)


def read_answers(path: Path) -> Answers:
    """Reads the answers of a run.

    Args:
        path: Its ``predictions.parquet``.

    Raises:
        UserError: If the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise ValueError("it is no file")
        table = pq.read_table(path, partitioning=None)
        columns = {name: _numbers(name, table.column(name)) for name in table.column_names}
        state = {
            name: value.decode() if name == PROBLEM_TYPE else json.loads(value)
            for key, value in (table.schema.metadata or {}).items()
            if not (name := key.decode()).startswith(ARROW)
        }
        ids = columns["index"].astype(np.int64)
        lengths = columns.pop(TOKENS).astype(np.int64) if TOKENS in columns else None
        task, labels, answers = task_named(problem_type_in(state)).from_columns(columns, state)
    except (pa.ArrowException, *_UNREADABLE) as error:
        reason = str(error).split("\n")[0][:150]
        raise UserError(f"cannot read {path} ({reason}): test the run again, or leave it out") from error
    return Answers(ids, labels, answers, task, lengths)


# What a task raises for columns and a state that are not its own; a file may hold anything.
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)


def _numbers(name: str, column: Any) -> npt.NDArray[Any]:
    """Returns a column's finite numbers."""
    if column.null_count:
        raise ValueError(f"{name} has gaps")
    values: npt.NDArray[Any] = column.to_numpy()
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError(f"{name} holds what is no number")
    return values
