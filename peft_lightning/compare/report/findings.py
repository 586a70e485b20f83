"""What the finished runs of a study say: accuracies with intervals, and tests where answers can be paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peft_lightning.compare.fairness import listing
from peft_lightning.compare.report.study import Recipe, Run, Study
from peft_lightning.compare.statistics import MethodAccuracy, Statistics, compare_methods, measure_methods
from peft_lightning.runs.predictions import Answers
from peft_lightning.runs.record import DatasetFigures, RunRecord


@dataclass(frozen=True)
class Findings:
    """The statistics of a study.

    Args:
        statistics: The tests; None with fewer than two recipes that answered the same reviews.
        accuracies: Accuracy with intervals of every recipe that answered any, by label.
        answers: The answers, one entry a seed, by label: those that are paired.
        confusions: The answers of every recipe, by label; the same, and those that are not paired.
        left_out: Sentences: what is not part of the tests, and why.
        partial: Sentences: what is missing.
    """

    statistics: Statistics | None
    accuracies: dict[str, MethodAccuracy]
    answers: dict[str, list[Answers]]
    confusions: dict[str, list[Answers]]
    left_out: tuple[str, ...]
    partial: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes are called, where a run says it."""
        every = (one for answers in self.confusions.values() for one in answers)
        return next((one.class_names for one in every if one.class_names), None)


def find(study: Study) -> Findings:
    """Works out the statistics.

    Args:
        study: The runs.
    """
    answered = {
        recipe.label: [(record, run.answers) for run, record in recipe.finished if run.answers is not None]
        for recipe in study.recipes
    }
    answered = {label: some for label, some in answered.items() if some}
    first = next((some[0] for some in answered.values()), None)
    paired: dict[str, list[Answers]] = {}
    others: dict[str, list[Answers]] = {}
    left_out = []
    for label, some in answered.items():
        assert first is not None
        same = [answers for record, answers in some if _same_reviews(first, (record, answers))]
        if same:
            paired[label] = same
        else:
            alike = [answers for _, answers in some if answers.of_same_reviews(some[0][1])]
            others[label] = alike
        if len(same) < len(some):
            what = label if not same else f"{len(some) - len(same)} of the {len(some)} runs of {label}"
            verb = "were" if same and len(some) - len(same) > 1 else "was"
            left_out.append(
                f"{what} {verb} tested on other reviews than {next(iter(answered))}: the answers cannot be paired, so"
                f" {'they take' if same else 'it takes'} no part in the tests."
            )
    correct = {label: np.stack([one.correct for one in some]) for label, some in paired.items()}
    enough = first is not None and len(first[1].ids) >= 2
    statistics = compare_methods(correct) if len(correct) >= 2 and enough else None
    accuracies = {} if statistics is None else {method.method: method for method in statistics.methods}
    every = paired | others
    for label, answers_of in every.items():
        if label not in accuracies and len(answers_of[0].ids) >= 2:
            alone = measure_methods({label: np.stack([one.correct for one in answers_of])})
            accuracies[label] = alone[0]
    return Findings(
        statistics,
        accuracies,
        paired,
        {label: every[label] for label in answered},
        tuple(left_out),
        _partial(study),
    )


def _same_reviews(one: tuple[RunRecord, Answers], other: tuple[RunRecord, Answers]) -> bool:
    if not one[1].of_same_reviews(other[1]):
        return False
    first, second = one[0].dataset, other[0].dataset
    if first is None or second is None or first.fingerprint == second.fingerprint:
        return True
    # The fingerprint is also of the training reviews: other numbers of them leave the test reviews as they are. With
    # the same numbers it is the texts that differ.
    return first.source == second.source and _sizes(first) != _sizes(second)


def _sizes(dataset: DatasetFigures) -> tuple[int, int]:
    return dataset.n_train, dataset.n_val


def _partial(study: Study) -> tuple[str, ...]:
    missing = study.unfinished
    if not missing:
        return ()
    runs = study.runs
    sentences = [f"Partial: {len(runs) - len(missing)} of {len(runs)} runs have finished, and only they are counted."]
    bare = [recipe.label for recipe in study.recipes if not recipe.finished]
    if bare:
        sentences.append(f"No run of {listing(bare)} has finished.")
    return tuple(sentences)


def first_record(recipes: tuple[Recipe, ...]) -> tuple[Run, RunRecord] | None:
    """Finds the first run that finished.

    Args:
        recipes: Where to look.
    """
    return next((pair for recipe in recipes for pair in recipe.finished), None)
