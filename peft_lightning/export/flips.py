"""Judges an export: what a fresh process answers with it, beside what the run answered in its test.

Two numbers decide. A *flip* is an example whose decision (the predicted class, or any label of several) is another one;
where there are only measurements, one that moves by a tenth of their standard deviation. The *greatest change* is that
of a probability, or of any other number of an answer.

The reference is the file of answers that the run saved, on the run's device and in its precision, and the replay is in
32-bit floats. So even a perfect export moves each number a little. Batches of one and of many answer within 1e-4 of
each other where a run computes in 32-bit floats, and within 1e-2 where it computes in bf16, whose numbers have eight
binary digits; another device adds to that. The tolerance is 1e-3 and 5e-2. A flip whose numbers all stay within it is
a near tie: the classes were as good as equal, and the run itself would have answered otherwise on another device. Near
ties are counted and shown, and do not count against the bound. A form that loses nothing has to keep *every* number
within the tolerance: so a wrong backbone, a lost head or a skipped scale fails even where no decision flips. A form
that is lossy by its nature may move numbers, and is held to its number of flips.

Answers are saved as the model alone gives them. Where a temperature was fitted, the export's head has been divided by
it; its logits are multiplied by it again before they are compared, so that a head that was not divided fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.runs.predictions import Answers
from peft_lightning.task import Task, recorded

# How far an answer's numbers may move without loss, by the precision that the run answered in.
IN_FULL = 1e-3
IN_HALF = 5e-2
# An answer without a decision, such as a measurement, flips where it moves by more than this share of their spread.
_FAR = 0.1
_LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """An export's answers beside the run's.

    Args:
        examples: Number of examples.
        flips: How many decisions are others.
        near_ties: How many of these within the tolerance.
        flips_interval: 95 % interval of the share of flips (Wilson 1927), in [0, 1].
        greatest_change: Greatest change of a probability, or of any number of an answer.
        tolerance: How far a number may move without loss; of measurements in their own unit.
        before: The headline metric of the run's answers.
        after: The headline metric of the export's answers.
        interval: 95 % interval of ``before`` over the examples: Wilson's where answers are right or wrong, otherwise
            that of the mean.
    """

    examples: int
    flips: int
    near_ties: int
    flips_interval: tuple[float, float]
    greatest_change: float
    tolerance: float
    before: float | None
    after: float | None
    interval: tuple[float, float]

    @property
    def counted(self) -> int:
        """The flips that count against the bound: those that are no near ties."""
        return self.flips - self.near_ties

    def failure(self, max_flips: int, lossless: bool) -> str | None:
        """Says why the export is not proved; None if it is.

        Args:
            max_flips: The most flips to accept, near ties aside.
            lossless: Whether the form must keep every number within the tolerance.
        """
        if not math.isfinite(self.greatest_change):
            return "it answers with what is no number"
        if self.counted > max_flips:
            return f"{self.counted} of {self.examples} answers are others than the run's, {max_flips} may be"
        # Whoever allows flips of a form without loss has seen it change.
        if lossless and not max_flips and self.greatest_change > self.tolerance:
            return (
                f"a number of its answers is {self.greatest_change:.2g} off the run's, and {self.tolerance:g} is what"
                " another device or batch explains"
            )
        return None


def tolerance_of(precision: str, bits: str | None) -> float:
    """Returns how far the numbers of an answer may move without loss.

    Args:
        precision: The Trainer's precision that the run answered in, such as ``32-true``.
        bits: How its backbone was quantised; ``int8`` rounds every layer's input, by the largest of a row.
    """
    return IN_FULL if precision.startswith(("32", "64")) and bits != "int8" else IN_HALF


def compare(reference: Answers, answers: npt.NDArray[np.floating], tolerance: float) -> Comparison:
    """Compares an export's answers with the run's.

    Args:
        reference: The run's answers, shape (n, …), and their targets.
        answers: The export's, of the same shape.
        tolerance: How far a number may move without loss, in [0, 1]; of measurements as a share of their spread.
    """
    task = reference.task
    moved = np.abs(answers.astype(np.float64) - reference.answers).reshape(len(answers), -1).max(axis=1)
    flipped = decisions_differ(task, reference.answers, answers)
    if flipped is None:
        # Measured in what the run's own answers differ by: they may be stars or dollars.
        spread = float(reference.answers.std()) or 1.0
        tolerance *= spread
        flipped = moved > _FAR * spread
    before, after = reference.scores, task.score(answers, reference.labels)
    count, flips = len(answers), int(flipped.sum())
    return Comparison(
        examples=count,
        flips=flips,
        near_ties=int((flipped & (moved <= tolerance)).sum()),
        flips_interval=wilson(flips, count),
        greatest_change=float(moved.max()),
        tolerance=tolerance,
        before=recorded(task.headline.oriented(float(before.mean()))),
        after=recorded(task.headline.oriented(float(after.mean()))),
        interval=_interval(reference),
    )


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share (Wilson 1927).

    Args:
        successes: How many examples count.
        count: How many there are.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def decisions_differ(task: Task, answers: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Tells for each example whether any whole number or truth value of its answer, such as the class, is another.

    Args:
        task: The task of the answers.
        answers: Answers, shape (n, …).
        others: Other answers to the same examples.

    Returns:
        Shape (n,); None where the task's answers hold no such values, as those of a regression.
    """
    theirs, ours = task.columns(answers), task.columns(others)
    decisions = [name for name, values in theirs.items() if values.dtype.kind in "biu"]
    if not decisions:
        return None
    differ: npt.NDArray[np.bool_] = np.any([theirs[name] != ours[name] for name in decisions], axis=0)
    return differ


def _interval(reference: Answers) -> tuple[float, float]:
    """Returns the interval of the headline metric over the examples."""
    scores, headline = reference.scores, reference.task.headline
    if reference.right_or_wrong:
        return wilson(int(scores.sum()), len(scores))
    from scipy.stats import t

    mean, count = float(scores.mean()), len(scores)
    error = float(scores.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    width = float(t.ppf((1 + _LEVEL) / 2, max(1, count - 1))) * error
    low, high = sorted((headline.oriented(mean - width), headline.oriented(mean + width)))
    return low, high
