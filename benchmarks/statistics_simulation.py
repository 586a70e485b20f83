"""How often a comparison by each metric is wrong, over thousands of comparisons whose truth is known.

    python benchmarks/statistics_simulation.py --out benchmarks/results/statistics

Recipes that are equal are drawn with the answers of their seeds, and compared as a report compares them. A comparison
counts as wrong if it tells any two of them apart. Intervals count if they hold the metric over all texts and seeds
there are: those of single recipes, and those of differences of two, also where recipes are not equal.

`--share 0.05` draws a twentieth of the comparisons. It takes some twenty minutes of one core, and writes
`statistics_simulation.md` and `statistics_simulation.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from peft_lightning.compare.statistics import Interval, Statistics, compare_methods
from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.family import corrected
from peft_lightning.compare.statistics.variances import variance_of_differences
from peft_lightning.runs.files import write_atomically
from peft_lightning.task import Metric, Regression, SingleLabel, Task
from simulated_answers import Floats, Recipes

CLASSES, NUMBERS = SingleLabel(("no", "yes")), Regression()
# What is simulated of each task; accuracy and mean absolute error are compared as headlines, without pseudo-values.
KEYS = {
    CLASSES: ("acc", "balanced_acc", "f1", "f1.yes", "mcc", "auroc", "pr_auc"),
    NUMBERS: ("mae", "rmse", "r2", "pearson", "spearman"),
}
EVERY = tuple(key for keys in KEYS.values() for key in keys)
# Thirty recipes take long.
FEW = ("acc", "f1", "mcc", "auroc", "pr_auc", "rmse", "pearson")
ROWS = {
    "false": "any false difference, %",
    "alone": "the same, were seeds left out, %",
    "pairs": "intervals of differences cover, %",
    "single": "intervals of recipes cover, %",
}


@dataclass(frozen=True)
class Condition:
    """So many comparisons of one kind, by some metrics."""

    recipes: Recipes
    comparisons: int
    keys: tuple[str, ...] = EVERY

    @property
    def name(self) -> str:
        """The condition in words."""
        of = self.recipes
        unequal = "" if len(set(of.strengths)) == 1 else "unequal "
        return (
            f"{len(of.strengths)} {unequal}recipes, {of.seeds} seeds, {of.texts:,} texts, {of.share:.0%} positive,"
            f" seeds spread {of.spread:g}"
        )


def _equal(
    recipes: int,
    seeds: int,
    texts: int,
    comparisons: int,
    spread: float = 0.05,
    share: float = 0.3,
    keys: tuple[str, ...] = EVERY,
) -> Condition:
    return Condition(Recipes((1.0,) * recipes, seeds, texts, spread, share), comparisons, keys)


CONDITIONS = (
    _equal(30, 3, 300, 250, keys=FEW),
    _equal(2, 3, 300, 1500),
    _equal(5, 3, 300, 900),
    _equal(2, 5, 2000, 1500),
    _equal(5, 5, 2000, 150),
    _equal(30, 5, 1000, 800, keys=FEW),
    Condition(Recipes((0.8, 0.9, 1.0, 1.1, 1.2), 3, 300, 0.05, 0.3), 300),
    _equal(5, 3, 300, 600, share=0.1),
    _equal(5, 3, 1000, 300, share=0.1),
    _equal(5, 3, 300, 300, spread=0.02),
    _equal(5, 3, 300, 300, spread=0.0),
    _equal(5, 3, 1000, 150, spread=0.1),
)


def metric_of(task: Task, key: str) -> Metric:
    """Finds a metric of a task or of its labels by its key."""
    return next(metric for metric in (*task.measured(), *task.of_labels) if metric.key == key)


def scores_of(
    task: Task, key: str, targets: npt.NDArray[Any], answers: Floats
) -> tuple[dict[str, npt.NDArray[Any]], Interval | None]:
    """Returns the scores of each recipe's answers and the ends of their mean, as a report has them.

    Args:
        task: The task.
        key: The metric's key.
        targets: Shape (texts,).
        answers: Shape (recipes, seeds, texts, …).
    """
    metric, headline = metric_of(task, key), key == task.headline.key
    ends = sorted(map(metric.oriented, (metric.lowest, metric.highest)))
    scores = {
        str(number): np.stack([task.pseudo_values(key, seed, targets) for seed in seeds])
        for number, seeds in enumerate(answers)
    }
    oriented = scores if metric.higher_is_better else {name: -values for name, values in scores.items()}
    return oriented, None if headline else Interval(*ends)


def outcome(statistics: Statistics, truth: Floats) -> tuple[float, float, float]:
    """Returns whether a comparison is wrong, and the shares of good intervals of differences and of recipes."""
    first, second = np.triu_indices(len(truth), 1)
    equal = np.isclose(truth[first], truth[second], rtol=1e-9)
    pairs, methods = statistics.differences, statistics.methods
    ends = np.array([(pair.interval.low, pair.interval.high, pair.told_apart) for pair in pairs]).T
    own = np.array([(method.interval.low, method.interval.high) for method in methods]).T
    differences = truth[first] - truth[second]
    return (
        float((ends[2].astype(bool) & equal).any()),
        float(((ends[0] <= differences) & (differences <= ends[1])).mean()),
        float(((own[0] <= truth) & (truth <= own[1])).mean()),
    )


def told_apart_by_texts_alone(scores: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Returns whether a test over texts, which takes the seeds for all there are, tells any two recipes apart."""
    components = Components.of(scores, pseudo=True)
    first, second = np.array(list(itertools.combinations(range(len(scores)), 2))).T
    error = np.sqrt(variance_of_differences(components, first, second).reviews)
    p_values = 2 * special.ndtr(-np.abs(components.mean[first] - components.mean[second]) / error)
    return bool(corrected(p_values, len(scores)).min() <= 0.05)


def simulate(condition: Condition, seed: int) -> dict[str, dict[str, float]]:
    """Draws the comparisons of a condition.

    Args:
        condition: The condition.
        seed: Seed of what is drawn.

    Returns:
        For each metric the shares of ``ROWS``.
    """
    rng, of = np.random.default_rng(seed), condition.recipes
    drawn: tuple[tuple[Task, Callable[..., Any], dict[str, Floats]], ...] = (
        (CLASSES, of.classes, of.metrics_of_classes()),
        (NUMBERS, of.numbers, of.metrics_of_numbers()),
    )
    found: dict[str, list[tuple[float, ...]]] = {key: [] for key in condition.keys}
    alone: dict[str, list[bool]] = {key: [] for key in condition.keys}
    for number in range(condition.comparisons):
        for task, draw, exact in drawn:
            targets, answers = draw(rng)
            for key in [key for key in KEYS[task] if key in condition.keys]:
                scores, ends = scores_of(task, key, targets, answers)
                truth = exact[key] * (1 if metric_of(task, key).higher_is_better else -1)
                found[key].append(outcome(compare_methods(scores, plan=False, ends=ends), truth))
                if number % 4 == 0:  # a rate so far from 5 % takes fewer
                    alone[key].append(told_apart_by_texts_alone(scores))
    shares = {key: np.mean(rows, axis=0).tolist() for key, rows in found.items()}
    return {
        key: {"false": wrong, "alone": float(np.mean(alone[key])), "pairs": pairs, "single": single}
        for key, (wrong, pairs, single) in shares.items()
    }


def as_markdown(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes a table for each condition, a column for each metric.

    Args:
        records: Comparisons and the shares of each metric, by condition.
    """
    lines = []
    for name, record in records.items():
        metrics, count = record["metrics"], record["comparisons"]
        error = 100 * math.sqrt(0.05 * 0.95 / count)
        lines += [f"## {name}", "", f"{count:,} comparisons; a rate of 5 % has a standard error of {error:.1f}.", ""]
        lines += [f"| | {' | '.join(metrics)} |", f"| --- |{' ---: |' * len(metrics)}"]
        for row, words in ROWS.items():
            # Of recipes that are not equal no difference is false.
            if row in ("false", "alone") and "unequal" in name:
                continue
            lines.append(f"| {words} | {' | '.join(f'{100 * of[row]:.1f}' for of in metrics.values())} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Simulates, and writes both files after each condition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--share", type=float, default=1.0, help="share of the comparisons that is drawn")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    share = [] if asked.share == 1 else ["--share", f"{asked.share:g}"]
    command = shlex.join(["python", "benchmarks/statistics_simulation.py", "--out", "DIR", *share])
    records: dict[str, Any] = {}
    for number, condition in enumerate(CONDITIONS):
        reduced = replace(condition, comparisons=max(2, round(asked.share * condition.comparisons)))
        begun = time.process_time()
        metrics = simulate(reduced, number)
        seconds = round(time.process_time() - begun, 1)
        records[reduced.name] = {"comparisons": reduced.comparisons, "processor_s": seconds, "metrics": metrics}
        content = {"command": command, "numpy": np.__version__, "records": records}
        total = sum(record["processor_s"] for record in records.values())
        table = f"{as_markdown(records)}\n`{command}`: {total:,.0f} s of one core, numpy {np.__version__}.\n"
        write_atomically(asked.out / "statistics_simulation.json", (json.dumps(content, indent=1) + "\n").encode())
        write_atomically(asked.out / "statistics_simulation.md", table.encode())
        print(f"{reduced.name}: {seconds} s", flush=True)
    print(as_markdown(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
