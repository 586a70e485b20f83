"""Compares every recipe with the baseline, in words: which are really better, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.figures import Figures, of_the_same_data, timed_alike
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.statistics import Difference
from peft_lightning.task import Metric

Verdict = Literal["better", "not told apart", "worse"]
# In the order of the columns: the cost's name and its figure.
COSTS: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("train time", lambda row: row.train_s),
    ("GPU memory", lambda row: row.gpu_allocated_gib),
    ("checkpoint", lambda row: row.checkpoint_bytes),
)


@dataclass(frozen=True)
class ComparedRecipe:
    """A recipe beside the baseline.

    Args:
        pair: The recipe's test against the baseline; positive differences are for the recipe.
        costs: Its train time, GPU memory and checkpoint as multiples of the baseline's; None where one of the two was
            not measured, or they are not comparable.
    """

    pair: Difference
    costs: tuple[float | None, ...]

    @property
    def verdict(self) -> Verdict:
        """What the test says."""
        if not self.pair.told_apart:
            return "not told apart"
        return "better" if self.pair.difference > 0 else "worse"

    @property
    def multiples(self) -> tuple[str, ...]:
        """The costs in words."""
        return tuple(multiple(cost) for cost in self.costs)


def compared_with_baseline(findings: Findings, rows: Sequence[Figures]) -> tuple[ComparedRecipe, ...]:
    """Returns every tested recipe beside the baseline, best first; empty if there is no baseline."""
    if not findings.against:
        return ()
    own_data = of_the_same_data(rows)[0]
    by_label = {row.label: row for row in own_data}
    timed = {row.label for row in timed_alike(own_data)[0]}
    baseline = findings.against[0].second

    def costs(label: str) -> tuple[float | None, ...]:
        if not {label, baseline} <= by_label.keys():
            return (None,) * len(COSTS)
        values = [_ratio(of(by_label[label]), of(by_label[baseline])) for _, of in COSTS]
        if not {label, baseline} <= timed:
            values[0] = None
        return tuple(values)

    return tuple(ComparedRecipe(pair, costs(pair.first)) for pair in findings.against)


def baseline_in_words(
    study: Study, compared: Sequence[ComparedRecipe], metric: Metric, every_cost: bool
) -> tuple[str, ...]:
    """Says which recipes are better than the baseline, which are not told apart from it, and what each costs.

    Args:
        study: The runs.
        compared: The recipes beside the baseline.
        metric: The headline metric.
        every_cost: Whether to say what those cost that are not told apart from it; those that are better always say so.

    Returns:
        Sentences; none if there is no baseline.
    """
    if study.baseline is None:
        return ()
    if not compared:
        return (f"Nothing is compared with {study.baseline}: it takes its answers and another recipe's.",)
    count = len(compared)
    family = f", corrected for these {count} comparisons alone (5 % for all together)" if count > 1 else ""
    sentences = [f"Against the baseline {study.baseline}{family}; costs are multiples of its own."]
    kinds: tuple[tuple[Verdict, str], ...] = (
        ("better", f"Better than {study.baseline}"),
        ("not told apart", f"Not told apart from {study.baseline}"),
        ("worse", f"Worse than {study.baseline}"),
    )
    for verdict, beginning in kinds:
        costs = verdict == "better" or (every_cost and verdict == "not told apart")
        clauses = [_clause(recipe, metric, costs) for recipe in compared if recipe.verdict == verdict]
        if clauses or verdict == "better":
            sentences.append(f"{beginning}: {'; '.join(clauses) or 'none'}.")
    return tuple(sentences)


def multiple(value: float | None) -> str:
    """Words a multiple: ``0.93 ×``."""
    if value is None:
        return words.DASH
    return f"{value:,.0f} ×" if value >= 10 else f"{value:.2f} ×"


def _clause(recipe: ComparedRecipe, metric: Metric, with_costs: bool) -> str:
    measured = [(name, cost) for (name, _), cost in zip(COSTS, recipe.costs, strict=True) if cost is not None]
    costs = [f"{name} {multiple(cost)}" for name, cost in measured if with_costs]
    difference = metric.difference(recipe.pair.difference, signed=True)
    unit = " points" if metric.percent else ""
    return f"{recipe.pair.first} {difference}{unit}" + (f" ({', '.join(costs)})" if costs else "")


def _ratio(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
