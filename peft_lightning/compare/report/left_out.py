"""Sentences on what is no part of a report's tests, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report.study import Recipe, Study
from peft_lightning.task import Task


def of_other_reviews(label: str, answered: int, paired: int, used: int, metrics: Sequence[str]) -> list[str]:
    """Returns sentences on runs of a recipe that were tested on other reviews than most.

    Args:
        label: The recipe.
        answered: Number of its runs that left answers.
        paired: Number of those whose answers can be paired with those of most runs.
        used: Number of those that its own figures are of.
        metrics: The names of these figures.
    """
    sentences = []
    if not paired:
        sentences.append(
            f"{label} was tested on other reviews than most runs: the answers cannot be paired, so it takes no part in"
            " the tests."
        )
    if used < answered:
        others = "most runs" if paired else "its others"
        verb = "was" if answered - used == 1 else "were"
        sentences.append(
            f"{_some_runs(answered - used, answered, label)} {verb} tested on other reviews than {others}, and left out"
            f" of its {listing([*metrics, 'tests'])}."
        )
    return sentences


def where_undefined(measured: Mapping[str, npt.NDArray[Any]], study: Study) -> list[str]:
    """Returns sentences on recipes that the metric compared is undefined for, in all their runs or in some.

    Args:
        measured: The scores by the metric, shape (seeds, n), by the recipe's label.
        study: The runs, for the metric.
    """
    runs = {label: int(np.isnan(scores).any(axis=1).sum()) for label, scores in measured.items()}
    name = study.metric.title
    if measured and all(runs[label] == len(scores) for label, scores in measured.items()):
        return [f"{name} is undefined on these reviews, {study.task.why_undefined}: there is nothing to test."]
    return [
        f"{name} is undefined for {_some_runs(count, len(measured[label]), label)}: it takes no part in the tests."
        for label, count in runs.items()
        if count
    ]


def of_another_task(recipe: Recipe, task: type[Task]) -> list[str]:
    """Returns a sentence on a recipe with runs of another task than the comparison's; none if there is none."""
    others = sorted({record.problem_type for _, record in recipe.finished} - {task.problem_type})
    if not others:
        return []
    return [
        f"{recipe.label} was trained for {listing(others)} and the comparison is of {task.problem_type}: how good it is"
        " cannot be compared."
    ]


def without_answers(recipe: Recipe, answered: int, metrics: Sequence[str]) -> list[str]:
    """Returns a sentence on runs of a recipe that left no answers where others did; none if there are none.

    Args:
        recipe: The recipe.
        answered: Number of its runs that left answers.
        metrics: The names of the figures that are of these runs alone.
    """
    finished = len(recipe.finished)
    silent = finished - answered
    if not silent or not answered:
        return []
    return [
        f"{_some_runs(silent, finished, recipe.label)} left no answers that can be read: its {listing(metrics)}"
        f" {'is' if len(metrics) == 1 else 'are'} of the other {answered}."
    ]


def _some_runs(some: int, runs: int, label: str) -> str:
    return f"{some} of the {runs} runs of {label}"


def unfinished_runs(study: Study) -> tuple[str, ...]:
    """Returns sentences on the runs that have not finished; none if all have."""
    missing = study.unfinished
    if not missing:
        return ()
    runs = study.runs
    done = len(runs) - len(missing)
    counted = "has finished, and only it is counted" if done == 1 else "have finished, and only they are counted"
    sentences = [f"Partial: {done} of {len(runs)} runs {counted}."]
    bare = [recipe.label for recipe in study.recipes if not recipe.finished]
    if bare:
        sentences.append(f"No run of {listing(bare)} has finished.")
    return tuple(sentences)
