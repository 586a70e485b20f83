"""What the report of a sweep is made from: the reports of its values, and the statistics across them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peft_lightning.compare.plan.sweep import Sweep
from peft_lightning.compare.report.chosen_metric import ends_of, scores_by
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.statistics import Change, Gap, changes_of_gaps, gaps_to
from peft_lightning.task import Metric
from peft_lightning.task.metric import DASH


@dataclass(frozen=True)
class ReportedValue:
    """The report of one value's comparison.

    Args:
        value: The value, as the user wrote it.
        folder: The name of its folder in the sweep's.
        study: Its runs.
        findings: Their statistics.
        rows: The figures of every recipe.
        cautions: Sentences to read before its verdict.
        verdict: Its verdict in sentences.
    """

    value: str
    folder: str
    study: Study
    findings: Findings
    rows: tuple[Figures, ...]
    cautions: tuple[str, ...]
    verdict: tuple[str, ...]

    def row(self, label: str) -> Figures | None:
        """Returns the figures of a recipe; None if it has none here."""
        return next((row for row in self.rows if row.label == label), None)


@dataclass(frozen=True)
class SweptStudy:
    """The reports of a sweep's values, and the statistics across them.

    Args:
        name: The comparison's name.
        sweep: The setting and its values.
        values: The report of each value.
        labels: The recipes, in the user's order.
        baseline: The recipe that all others are compared with.
        stated: Whether the user named it; else it is the first.
        gaps: Each recipe's difference to the baseline at each value.
        changes: How each of these differs between values.
        same_reviews: Whether all values were tested on the same reviews.
    """

    name: str
    sweep: Sweep
    values: tuple[ReportedValue, ...]
    labels: tuple[str, ...]
    baseline: str
    stated: bool
    gaps: tuple[Gap, ...]
    changes: tuple[Change, ...]
    same_reviews: bool

    @property
    def metric(self) -> Metric:
        """The metric that recipes are compared by."""
        return _metric(self.values)

    @property
    def nested(self) -> bool:
        """Whether each larger training subset holds the smaller ones: they are prefixes of one order."""
        return self.sweep.setting == "data.n_train" and self.sweep.numbers is not None

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences to read before the verdict; those that do not hold for all values name the value."""
        others = [entry.value for entry in self.values if entry.findings.scores and entry.study.metric != self.metric]
        left_out = (
            f"{self.metric.title} is undefined for the runs at {self.sweep.name} {', '.join(others)}, whose labels or"
            " answers are others: they are compared in their own reports only."
        )
        common = [
            caution for caution in self.values[0].cautions if all(caution in value.cautions for value in self.values)
        ]
        own = [
            f"At {title}: {sentence}"
            for title, value in zip(self.sweep.titles, self.values, strict=True)
            for sentence in value.cautions
            if sentence not in common
        ]
        return (*([left_out] if others else []), *common, *own)

    def gap(self, label: str, value: str) -> Gap | None:
        """Returns a recipe's difference to the baseline at a value; None if it was not tested."""
        return next((gap for gap in self.gaps if (gap.method, gap.value) == (label, value)), None)


def study_values(name: str, sweep: Sweep, values: Sequence[ReportedValue], baseline: str | None) -> SweptStudy:
    """Computes the statistics across the values of a sweep.

    Args:
        name: The comparison's name.
        sweep: The setting and its values.
        values: The report of each value.
        baseline: The recipe that all others are compared with; the first if None.
    """
    planned = [recipe.label for recipe in values[0].study.plan.recipes]
    chosen = baseline if baseline is not None else planned[0]
    metric = _metric(values)
    # What was not paired at its value cannot be across values, nor what was measured otherwise.
    compared = [entry for entry in values if entry.findings.statistics is not None and entry.study.metric == metric]
    scores = {
        entry.value: {
            label: np.stack([scores_by(entry.study, seed) for seed in entry.findings.answers[label]])
            for label in planned
            # Without a test at its value the metric is undefined.
            if label in entry.findings.answers and label in entry.findings.scores
        }
        for entry in compared
    }
    pseudo = any(ends_of(entry.study) is not None for entry in compared)
    firsts = [next(iter(entry.findings.answers.values()))[0] for entry in compared]
    same = all(first.of_same_reviews(firsts[0]) for first in firsts)
    gaps = gaps_to(chosen, scores, pseudo)
    changes = changes_of_gaps(chosen, scores, same, pseudo)
    return SweptStudy(name, sweep, tuple(values), tuple(planned), chosen, baseline is not None, gaps, changes, same)


def _metric(values: Sequence[ReportedValue]) -> Metric:
    """Returns the metric that recipes are compared by at the first value that has figures.

    A value without answers may not know it: its task is then taken for the most frequent one.
    """
    tested = [entry.study for entry in values if entry.findings.scores]
    begun = [entry.study for entry in values if any(run.record is not None for _, run in entry.study.runs)]
    return (tested or begun or [values[0].study])[0].metric


def in_words(study: SweptStudy) -> tuple[str, ...]:
    """Says how the recipes differ from the baseline at each value, and whether they do so more at one than another."""
    metric, name, count = study.metric, study.sweep.name, len(study.gaps)
    sentences = [] if study.stated else [f"No --baseline was named, so the first recipe, {study.baseline}, is it."]
    if study.nested:
        sentences.append("The training texts are nested: each larger subset holds the smaller ones.")
    if not count:
        return (*sentences, f"Nothing is compared with {study.baseline}: it takes its answers and another recipe's.")
    apart = [gap for gap in study.gaps if gap.told_apart]
    sentences.append(
        f"Of {count} differences to {study.baseline}, one for each other recipe and value,"
        f" {len(apart) or 'none'} {'is' if len(apart) == 1 else 'are'} beyond chance (5 % for all {count} together)."
    )
    sentences += [
        f"{gap.method} is {metric.gap(abs(gap.difference))} {'better' if gap.difference > 0 else 'worse'} than"
        f" {study.baseline} at {name} {gap.value} ({difference_range(gap.interval.low, gap.interval.high, metric)})."
        for gap in apart
    ]
    tests = len(study.changes)
    if not tests:
        return (*sentences, "Whether the recipes differ more at one value than at another takes tests at two values.")
    changed = [change for change in study.changes if change.told_apart]
    pairing = "" if study.same_reviews else " Values have test texts of their own, so their differences are not paired."
    if not changed:
        largest = max(study.changes, key=lambda change: abs(change.change))
        return (
            *sentences,
            f"The recipes are not shown to differ more at one {name} than at another (5 % for all {tests} changes"
            f" together); the largest change is that of {largest.method}'s difference to {study.baseline} from"
            f" {largest.first} to {largest.second}: {change_in_words(largest, metric)}.{pairing}",
        )
    sentences.append(
        f"The recipes differ more at one {name} than at another: of {tests} changes of a difference to"
        f" {study.baseline} between two values {len(changed)} {'is' if len(changed) == 1 else 'are'} beyond chance"
        f" (5 % for all together).{pairing}"
    )
    for label in dict.fromkeys(change.method for change in changed):
        largest = max((change for change in changed if change.method == label), key=lambda change: abs(change.change))
        ends = [study.gap(label, value) for value in (largest.first, largest.second)]
        first, second = (metric.difference(end.difference, signed=True) if end is not None else DASH for end in ends)
        sentences.append(
            f"{label}'s difference to {study.baseline} goes from {first} at {name} {largest.first} to {second} at"
            f" {largest.second}: a change of {change_in_words(largest, metric)}."
        )
    return tuple(sentences)


def change_in_words(change: Change, metric: Metric) -> str:
    """Words a change with its interval: ``+1.2 points (0.3 to 2.1)``."""
    unit = " points" if metric.percent else ""
    value = metric.difference(change.change, signed=True)
    return f"{value}{unit} ({difference_range(change.interval.low, change.interval.high, metric)})"


def difference_range(low: float, high: float, metric: Metric) -> str:
    """Words the interval of a difference."""
    return f"{metric.difference(low, signed=True)} to {metric.difference(high, signed=True)}"
