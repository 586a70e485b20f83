"""The section on the confusion of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.label_words import label_in_short
from peft_lightning.compare.report.leaders import find_leaders
from peft_lightning.compare.report.study import Study
from peft_lightning.task import Task

# A matrix of more classes has more cells than can be read; the pairs that are confused most are then listed.
MOST_CLASSES, MOST_PAIRS = 10, 15


def confusions(
    study: Study, findings: Findings, labelled: Task | None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Returns the confusion matrix of each recipe, or of many classes the most confused pairs.

    Args:
        study: The runs.
        findings: Their answers.
        labelled: The answers' task, with the names of classes if those are known.

    Returns:
        The matrices, empty if the task has no classes or many, and the pairs, None if it has no classes or few.
    """
    counted = next((seed.confusion() for seeds in findings.confusions.values() for seed in seeds), None)
    if counted is not None and len(counted) > MOST_CLASSES:
        return [], _confused_pairs(study, findings, labelled)
    return _matrices(study, findings, labelled), None


def _confused_pairs(study: Study, findings: Findings, labelled: Task | None) -> dict[str, Any] | None:
    leaders = find_leaders(study, findings, labelled)
    if leaders is None:
        return None
    matrices: dict[str, npt.NDArray[np.int64]] = {}
    for leader in leaders.shown:
        counts = [counted for seed in leader.answers if (counted := seed.confusion()) is not None]
        matrices[leader.label] = np.sum(counts, axis=0)
    wrong = np.sum(list(matrices.values()), axis=0)
    np.fill_diagonal(wrong, 0)
    classes = len(wrong)
    found = [place for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS] if wrong.flat[place]]
    pairs = [divmod(int(place), classes) for place in found]
    share = sum(int(wrong[pair]) for pair in pairs) / max(1, int(wrong.sum()))
    sentence = (
        f"The pairs of the {classes} classes that are confused most: {words.percent(share, 0)} of all wrong answers."
        if pairs
        else "No answer is wrong."
    )
    return {
        "sentence": " ".join(filter(None, (sentence, leaders.sentence))),
        "labels": list(matrices),
        "rows": [
            {
                "true": label_in_short(leaders.task, true),
                "answered": label_in_short(leaders.task, answered),
                "cells": [
                    {
                        "count": f"{matrix[true, answered]:,}",
                        "rate": words.percent(
                            float(matrix[true, answered] / total) if (total := matrix[true].sum()) else None
                        ),
                    }
                    for matrix in matrices.values()
                ],
            }
            for true, answered in pairs
        ],
    }


def _matrices(study: Study, findings: Findings, labelled: Task | None) -> list[dict[str, Any]]:
    shown = []
    for number, recipe in enumerate(study.recipes):
        answers = findings.confusions.get(recipe.label)
        if not answers:
            continue
        counts = [counted for seed in answers if (counted := seed.confusion()) is not None]
        if not counts:
            continue
        matrix = np.sum(counts, axis=0)
        totals = matrix.sum(axis=1)
        own = answers[0].task
        task = own if own.label_names or labelled is None else labelled
        classes = [task.label_in_words(place) for place in range(len(matrix))]
        shown.append(
            {
                "label": recipe.label,
                "number": number,
                "seeds": words.runs(len(answers)),
                "names": classes,
                "rows": [
                    {
                        "name": name,
                        "cells": [
                            {
                                "count": f"{count:,}",
                                "rate": words.percent(count / totals[place] if totals[place] else None),
                                "share": f"{count / totals[place] if totals[place] else 0:.3f}",
                            }
                            for count in matrix[place].tolist()
                        ],
                    }
                    for place, name in enumerate(classes)
                ],
            }
        )
    return shown
