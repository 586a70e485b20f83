"""Comparisons of each task, made in a moment: runs of ``records``, with answers of the task in the place of theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.runs.predictions import Answers, write_answers
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import MultiLabel, Regression, SingleLabel, Task
from tests.compare.report.records import FOUR, Made, comparison

Array = npt.NDArray[Any]
LONGEST = 256


def comparison_of(
    folder: Path,
    task: Task,
    recipes: Mapping[str, Made] | None = None,
    seeds: Sequence[int] = (1, 2),
    texts: int = 400,
    lengths: bool = True,
    rare: bool = False,
) -> Path:
    """A comparison of a task; the recipes' accuracy decides how good their answers are, worse where texts are long.

    Args:
        folder: An empty folder.
        task: The task.
        recipes: The recipes; the usual four if None.
        seeds: The seeds of each.
        texts: Number of test texts.
        lengths: Whether the runs are new enough to have recorded lengths and training labels.
        rare: Whether classes or labels are of unequal frequency, the last one very rare.
    """
    recipes = dict(FOUR if recipes is None else recipes)
    comparison(folder, recipes, seeds, texts)
    tokens = np.minimum(LONGEST, np.random.default_rng(3).geometric(0.008, texts) + 7)
    targets = _targets(task, texts, rare)
    for results in sorted(folder.rglob("results.json")):
        record = RunRecord.read(results)
        skill = recipes[record.recipe].accuracy
        rng = np.random.default_rng([record.seed, *record.recipe.encode()])
        answers = _answers(task, targets, skill, tokens, rng)
        made = Answers(np.arange(texts) * 3, targets, answers, task, tokens if lengths else None)
        write_answers(results.parent / "predictions.parquet", made)
        record.problem_type = task.problem_type
        record.metrics = {task.headline.test: task.headline.oriented(float(made.scores.mean()))}
        assert record.dataset is not None
        support = task.support(targets)
        if lengths and support is not None:
            record.dataset = replace(record.dataset, train_labels=(7 * support).tolist(), n_train=7 * texts)
        record.write(results)
    return folder


def _targets(task: Task, texts: int, rare: bool) -> Array:
    rng = np.random.default_rng(5)
    count = task.num_outputs
    weights = 0.6 ** np.arange(count) if rare else np.ones(count)
    if isinstance(task, SingleLabel):
        targets: Array = rng.choice(count, texts, p=weights / weights.sum())
        targets[:count] = np.arange(count)
        return targets
    if isinstance(task, MultiLabel):
        return (rng.random((texts, count)) < 0.5 * weights).astype(np.int8)
    assert isinstance(task, Regression)
    values = rng.normal(3, 1, (texts, count)).clip(0, 5).astype(np.float32)
    return values if task.names else values[:, 0]


def _answers(task: Task, targets: Array, skill: float, tokens: Array, rng: np.random.Generator) -> Array:
    texts, count = len(targets), task.num_outputs
    # Texts are hard for everybody, the long ones most, and a little for each by chance.
    hard = 0.4 + tokens / LONGEST + np.random.default_rng(9).normal(0, 0.4, texts) + rng.normal(0, 0.1, texts)
    wrong = hard.argsort().argsort() >= texts * skill
    if isinstance(task, SingleLabel):
        answered = np.where(wrong, (targets + rng.integers(1, min(3, count), texts, endpoint=True)) % count, targets)
        probabilities = np.full((texts, count), 0.2 / count, np.float32)
        probabilities[np.arange(texts), answered] = 0.8
        return probabilities
    if isinstance(task, MultiLabel):
        flipped = rng.random((texts, count)) < np.where(wrong, 0.5, 0.04)[:, np.newaxis]
        return np.where(flipped, 1 - targets, targets).astype(np.float32) * 0.8 + 0.1
    errors = rng.normal(0, 1, targets.shape) * np.where(wrong, 1.2, 0.3).reshape(-1, *[1] * (targets.ndim - 1))
    return (0.85 * targets + 0.4 + errors).astype(np.float32)


FEELINGS = ("joy", "anger", "fear", "a <b>$5$</b> label", "=sum\nof lines", "surprise")
EVERY: dict[str, Task] = {
    "three classes": SingleLabel(("negative", "neutral", "positive")),
    "twenty classes": SingleLabel(tuple(f"topic {number} of many" for number in range(20))),
    "labels": MultiLabel(FEELINGS),
    "number": Regression(),
    "numbers": Regression(("valence", "arousal")),
}
