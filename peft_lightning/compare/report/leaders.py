"""The recipes that a picture of answers shows: all of a few, the best of many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.plots.svg import SERIES
from peft_lightning.compare.report.study import Study
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import Task

# As many as there are colours.
MOST_SHOWN = len(SERIES)
# The shapes of ``plots.svg.MARKERS`` as letters, for a legend that can be read without colour.
GLYPHS = ("●", "■", "◆", "▲", "▼", "+", "×", "⬟")


@dataclass(frozen=True)
class Leader:
    """A recipe in the pictures of answers.

    Args:
        label: Its label.
        number: The number of its colour and marker.
        answers: Its answers, one entry for each seed; all leaders' are to the same reviews.
    """

    label: str
    number: int
    answers: tuple[Answers, ...]

    @cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """Its mean score over the seeds on each review, shape (n,)."""
        mean: npt.NDArray[np.float64] = np.mean([seed.scores for seed in self.answers], axis=0, dtype=np.float64)
        return mean


@dataclass(frozen=True)
class Leaders:
    """The recipes in the pictures of answers, which are all to the same reviews.

    Args:
        shown: The recipes, one or more; of many the baseline, then the best.
        others: Number of recipes with answers to these reviews that are not shown.
        task: The answers' task, with the names of labels if those are known.
        with_baseline: Whether the first of many is the baseline.
    """

    shown: tuple[Leader, ...]
    others: int
    task: Task
    with_baseline: bool = False

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The targets of the reviews, shape (n, …)."""
        return self.shown[0].answers[0].labels

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The reviews' rows in the test split, shape (n,)."""
        return self.shown[0].answers[0].ids

    @property
    def legend(self) -> list[dict[str, Any]]:
        """Colour, shape and label of each recipe that is shown, for the page."""
        return [
            {
                "series": leader.number % len(SERIES) + 1,
                "glyph": GLYPHS[leader.number % len(GLYPHS)],
                "label": leader.label,
            }
            for leader in self.shown
        ]

    @property
    def sentence(self) -> str:
        """How many recipes are shown, if some are not; else empty."""
        if not self.others:
            return ""
        best = f"The best {len(self.shown)}"
        if self.with_baseline:
            best = f"The baseline and the best {len(self.shown) - 1} others"
        return f"{best} of {len(self.shown) + self.others} recipes are shown."


def find_leaders(study: Study, findings: Findings, labelled: Task | None) -> Leaders | None:
    """Chooses the recipes to show; None if no run left answers.

    Args:
        study: The runs; of many recipes ranked.
        findings: Their answers.
        labelled: The answers' task, with the names of labels if those are known.
    """
    order = [recipe.label for recipe in study.recipes]
    found = [label for label in order if label in findings.answers]
    if not found or labelled is None:
        return None
    few = len(order) <= MOST_SHOWN
    first = [study.baseline] if not few and study.baseline in found else []
    chosen = [*first, *(label for label in found if label not in first)][:MOST_SHOWN]
    shown = tuple(
        Leader(label, order.index(label) if few else place, tuple(findings.answers[label]))
        for place, label in enumerate(chosen)
    )
    own = shown[0].answers[0].task
    return Leaders(shown, len(found) - len(shown), own if own.label_names else labelled, bool(first))
