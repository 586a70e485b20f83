"""A run's curves: reads them from the growing history, smooths them, and thins them for a picture."""

from __future__ import annotations

import csv
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from peft_lightning.runs.checked_json import MOST
from peft_lightning.task import Metric

Points = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]

# Buckets of a thinned curve, two points of each: as many as the picture's pixels can show.
BUCKETS = 800
# Bytes of a history that are read together; one of a million points has some 30 MB.
BLOCK = 2**22
# The smoothed loss is the mean over this share of the points, and over at most this many points.
SMOOTHED_SHARE, SMOOTHED_POINTS = 0.1, 501


class Curves:
    """A run's curves, by their names in its history; ``read`` adds the newest points.

    Args:
        history: The run's ``history.csv``, which may not exist yet.
        metric: The metric whose curve is drawn beside the loss.
    """

    def __init__(self, history: Path, metric: Metric) -> None:
        self._history = history
        self.metric = metric
        self._names = {"train/loss", "val/loss", metric.validation, "train/learning_rate"}
        self._offset = 0
        self._values: dict[str, tuple[array[float], array[float]]] = {}

    def read(self) -> bool:
        """Reads the lines that were appended since the last call, complete lines only.

        Returns:
            Whether there was a new point.

        Raises:
            OSError: If the history cannot be read.
            ValueError: If a line holds what is no number, or is not UTF-8.
            csv.Error: If a line is not CSV.
        """
        if not self._history.exists():
            return False
        if not self._history.is_file():
            raise ValueError("it is no file")
        found = False
        with self._history.open("rb") as file:
            file.seek(self._offset)
            rest = b""
            while block := file.read(BLOCK):
                lines, newline, rest = (rest + block).rpartition(b"\n")
                if len(rest) > BLOCK:
                    raise ValueError(f"a line has more than {BLOCK:,} bytes")
                self._offset += len(lines) + len(newline)
                found = self._add_rows(lines.decode()) or found
        return found

    def _add_rows(self, text: str) -> bool:
        rows = [row for row in csv.reader(text.splitlines()) if len(row) == 3]
        known = [(row[1], row[0], row[2]) for row in rows if row[1] in self._names and row[0]]
        for name, step, value in known:
            self.add(name, int(step), float(value))
        return bool(known)

    def add(self, name: str, step: int, value: float) -> None:
        """Adds a point.

        Args:
            name: The curve.
            step: The optimiser step.
            value: The value; one that is not finite cannot be drawn and is left out.

        Raises:
            ValueError: If the step does not fit into 64 bits.
        """
        if abs(step) > MOST:
            raise ValueError("a step has too many digits")
        if np.isfinite(value):
            steps, values = self._values.setdefault(name, (array("d"), array("d")))
            steps.append(step)
            values.append(value)

    def points(self, name: str) -> Points | None:
        """Returns the steps and the values of a curve, or None if it has no point."""
        if name not in self._values:
            return None
        steps, values = self._values[name]
        return np.array(steps), np.array(values)

    @property
    def step(self) -> int:
        """The last optimiser step that has a point."""
        return max((int(steps[-1]) for steps, _ in self._values.values()), default=0)


def smooth(values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """Smooths a curve by a centred mean, which does not lag; the window is narrower at both ends.

    Args:
        values: The curve.

    Returns:
        The smoothed curve, and the number of points in a full window.
    """
    window = 2 * (min(int(len(values) * SMOOTHED_SHARE), SMOOTHED_POINTS) // 2) + 1
    positions = np.arange(len(values))
    first = np.maximum(positions - window // 2, 0)
    end = np.minimum(positions + window // 2 + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[end] - sums[first]) / (end - first), window


def decimate(values: np.ndarray[Any, Any], buckets: int = BUCKETS) -> np.ndarray[Any, Any]:
    """Thins a long curve to the points that show its shape: the extremes of every bucket, and both ends.

    Args:
        values: The curve.
        buckets: Number of buckets; the lowest and the highest point of each are drawn.

    Returns:
        The positions to draw, in order; all of them for a short curve.
    """
    size = len(values) // buckets
    if size < 3:
        return np.arange(len(values))
    whole = len(values) // size * size
    rows = values[:whole].reshape(-1, size)
    starts = np.arange(0, whole, size)
    extremes = [starts + rows.argmin(axis=1), starts + rows.argmax(axis=1)]
    return np.unique(np.concatenate([[0], *extremes, np.arange(whole, len(values)), [len(values) - 1]]))
