"""The statistics of a study's finished runs: mean scores with intervals, and tests of answers that can be paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from peft_lightning.compare.report.chosen_metric import ends_of, scores_by
from peft_lightning.compare.report.left_out import (
    of_another_task,
    of_other_reviews,
    unfinished_runs,
    where_undefined,
    without_answers,
)
from peft_lightning.compare.report.pairing import Tested, of_the_same_reviews
from peft_lightning.compare.report.study import Recipe, Run, Study
from peft_lightning.compare.statistics import (
    Difference,
    MethodScore,
    Statistics,
    against,
    compare_methods,
    letter_groups,
    letters,
    measure_methods,
)
from peft_lightning.runs.predictions import Answers
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Metric, Task


@dataclass(frozen=True)
class Findings:
    """The statistics of a study.

    Args:
        statistics: The tests; None with fewer than two recipes that answered the same reviews.
        scores: Mean score with intervals of every recipe that left answers, by label.
        answers: The answers that are paired, one entry for each seed, by the recipe's label.
        confusions: The answers of every recipe, paired or not, by label.
        counted: The records over which a recipe's metrics are means, by label: those with its answers, or if no run
            left answers, those of all its finished runs that were tested.
        left_out: Sentences that say what is not part of the tests, and why.
        partial: Sentences that say which runs are missing.
        groups: The labels of tested recipes that are not told apart, the best first, if there are many; else empty.
        against: The tests of all others against the baseline, best first; empty if there is none, or it has no tests.
    """

    statistics: Statistics | None
    scores: dict[str, MethodScore]
    answers: dict[str, list[Answers]]
    confusions: dict[str, list[Answers]]
    counted: dict[str, list[RunRecord]]
    left_out: tuple[str, ...]
    partial: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    against: tuple[Difference, ...] = ()

    @property
    def letters(self) -> dict[str, str]:
        """The letters of each recipe's groups, by label; empty if there are no groups."""
        return letters([label for label in self.scores if any(label in group for group in self.groups)], self.groups)

    @property
    def for_new_seeds(self) -> frozenset[str]:
        """The recipes whose intervals include the spread over seeds: their own, or that of other tested recipes."""
        own = {label for label, method in self.scores.items() if method.seeds > 1}
        tested = self.statistics.methods if self.statistics is not None and self.statistics.seeds_measured else ()
        return frozenset(own.union(method.method for method in tested))

    @property
    def task(self) -> Task | None:
        """The task of the answers, with the names of labels if a run has them; None if there are no answers."""
        every = [seed.task for seeds in self.confusions.values() for seed in seeds]
        return next((task for task in every if task.label_names), every[0] if every else None)


def find(study: Study) -> Findings:
    """Computes the statistics of a study."""
    metrics = [metric.name for metric in study.shown]
    answered: dict[str, list[Tested]] = {
        recipe.label: [
            (record, run.answers)
            for run, record in recipe.finished
            if run.answers is not None and run.answers.task.problem_type == study.task.problem_type
        ]
        for recipe in study.recipes
    }
    answered = {label: tested for label, tested in answered.items() if tested}
    most = of_the_same_reviews([run for tested in answered.values() for run in tested])
    used: dict[str, list[Tested]] = {}
    left_out = []
    for label, tested in answered.items():
        # A recipe of which no run can be paired is measured by itself, on the reviews that its runs share.
        pairable = [run for run in tested if any(run is other for other in most)]
        used[label] = pairable or of_the_same_reviews(tested)
        left_out += of_other_reviews(label, len(tested), len(pairable), len(used[label]), metrics)
    left_out += [sentence for recipe in study.recipes for sentence in of_another_task(recipe, study.task)]
    for recipe in study.recipes:
        left_out += without_answers(recipe, len(answered.get(recipe.label, ())), metrics)
    paired = {
        label: [answers for _, answers in tested]
        for label, tested in used.items()
        if any(tested[0] is run for run in most)
    }
    every = {label: [answers for _, answers in tested] for label, tested in used.items()}
    measured = {label: np.stack([scores_by(study, seed) for seed in seeds]) for label, seeds in every.items()}
    left_out += where_undefined(measured, study)
    measured = {label: scores for label, scores in measured.items() if not np.isnan(scores).any()}
    seed_scores = {label: measured[label] for label in paired if label in measured}
    enough = bool(most) and len(most[0][1].ids) >= 2
    ends = ends_of(study)
    statistics = compare_methods(seed_scores, ends=ends) if len(seed_scores) >= 2 and enough else None
    scores = {} if statistics is None else {method.method: method for method in statistics.methods}
    for label, of_label in measured.items():
        if label not in scores and of_label.shape[1] >= 2:
            scores[label] = measure_methods({label: of_label}, ends)[0]
    return Findings(
        statistics,
        scores,
        paired,
        every,
        {recipe.label: _counted(recipe, used.get(recipe.label, []), study.metric) for recipe in study.recipes},
        tuple(left_out),
        unfinished_runs(study),
        _groups(statistics) if statistics is not None and study.many else (),
        _against(statistics, study.baseline),
    )


def best_first(study: Study, findings: Findings) -> Study:
    """Returns the study with its recipes ranked by the metric compared; those without it come last, in their order."""
    metric = study.metric

    def rank(recipe: Recipe) -> float:
        if recipe.label in findings.scores:
            return -findings.scores[recipe.label].mean
        values = [record.metrics.get(metric.test) for record in findings.counted[recipe.label]]
        known = [metric.oriented(value) for value in values if value is not None]
        return -sum(known) / len(known) if known else math.inf

    return replace(study, recipes=tuple(sorted(study.recipes, key=rank)))


def _groups(statistics: Statistics) -> tuple[tuple[str, ...], ...]:
    ranked = [method.method for method in sorted(statistics.methods, key=lambda method: -method.mean)]
    return letter_groups(ranked, [(pair.first, pair.second) for pair in statistics.differences if pair.told_apart])


def _against(statistics: Statistics | None, baseline: str | None) -> tuple[Difference, ...]:
    if statistics is None or baseline not in {method.method for method in statistics.methods}:
        return ()
    return against(statistics, str(baseline))


def without_statistics(study: Study) -> Findings:
    """Returns findings without any that are computed from answers, for a report whose statistics failed."""
    counted = {recipe.label: _counted(recipe, (), study.metric) for recipe in study.recipes}
    return Findings(None, {}, {}, {}, counted, (), unfinished_runs(study))


def _counted(recipe: Recipe, used: Sequence[Tested], metric: Metric) -> list[RunRecord]:
    if used:
        return [record for record, _ in used]
    return [record for _, record in recipe.finished if record.metrics.get(metric.test) is not None]


def first_record(recipes: tuple[Recipe, ...]) -> tuple[Run, RunRecord] | None:
    """Returns the first run that finished, with its record; None if none has."""
    return next((pair for recipe in recipes for pair in recipe.finished), None)
