"""What a run answered for every test review, ``predictions.parquet``; one writer, one reader."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.runs.files import atomic_file

NAMES = b"class_names"
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one trained model to N test reviews.

    Args:
        ids: Row of each review in the test split of its source, ascending, shape (N,).
        labels: Its class, shape (N,).
        predictions: The class that the model chose, shape (N,).
        classes: Number of classes.
        class_names: What the classes are called, where the file says it.
    """

    ids: Integers
    labels: Integers
    predictions: Integers
    classes: int
    class_names: tuple[str, ...] | None

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Which answers are right, shape (N,)."""
        right: npt.NDArray[np.bool_] = self.labels == self.predictions
        return right

    def of_same_reviews(self, other: "Answers") -> bool:
        """Tells whether the reviews have the same numbers and labels as another run's.

        Args:
            other: The other run's answers.
        """
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.labels, other.labels)

    def confusion(self) -> Integers:
        """Counts how often each class was taken for each.

        Returns:
            Counts, shape (classes, classes): rows are true classes, columns are answers.
        """
        counts = np.bincount(self.labels * self.classes + self.predictions, minlength=self.classes**2)
        matrix: Integers = counts.reshape(self.classes, self.classes)
        return matrix


def write_predictions(
    path: Path,
    ids: Integers,
    labels: Integers,
    probabilities: npt.NDArray[np.float32],
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes one row a review, in the order of the source's split: its row there, label, prediction, probabilities.

    Args:
        path: The file.
        ids: Row of each review in the test split of its source, shape (N,).
        labels: Its class, shape (N,).
        probabilities: What the model gave each class, shape (N, classes).
        class_names: What the classes are called; they travel with the numbers, for readers without the data source.

    Raises:
        UserError: If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = np.argsort(ids, kind="stable")
    probabilities = probabilities[order]
    table = {"index": ids[order], "label": labels[order], "prediction": probabilities.argmax(axis=-1)}
    for number in range(probabilities.shape[1]):
        table[f"probability_{number}"] = np.ascontiguousarray(probabilities[:, number])
    metadata = {NAMES: json.dumps(list(class_names))} if class_names else None
    with atomic_file(path) as file:
        pq.write_table(pa.table(table, metadata=metadata), file)


def read_answers(path: Path) -> Answers:
    """Reads the predictions of a run.

    Args:
        path: Its ``predictions.parquet``.

    Raises:
        UserError: If the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        ids, labels, predictions = (
            table.column(name).to_numpy().astype(np.int64) for name in ("index", "label", "prediction")
        )
        metadata = table.schema.metadata or {}
        names = json.loads(metadata[NAMES]) if NAMES in metadata else None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = str(error).split("\n")[0][:150]
        raise UserError(f"cannot read {path} ({reason}): test the run again, or leave it out") from error
    classes = sum(name.startswith("probability_") for name in table.column_names)
    if not len(ids) or min(labels.min(), predictions.min()) < 0 or max(labels.max(), predictions.max()) >= classes:
        raise UserError(f"cannot read {path} (no answers to {classes} classes): test the run again, or leave it out")
    return Answers(ids, labels, predictions, classes, tuple(map(str, names)) if names else None)
