"""The sections on answers: the confusion of classes, and the reviews on which recipes disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.disagreements import DisputedReview, find_disagreements
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.graded_disagreements import GradedReview, find_graded_disagreements
from peft_lightning.compare.report.label_words import label_in_short
from peft_lightning.compare.report.leaders import find_leaders
from peft_lightning.compare.report.study import MANY, Study
from peft_lightning.compare.report.texts import Texts
from peft_lightning.task import Task

SUMMARY_LETTERS, TEXT_LETTERS = 72, 1200
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


def disputed(findings: Findings, labelled: Task | None, texts: Texts | str) -> dict[str, Any] | None:
    """Returns the reviews on which recipes disagree; None with fewer than two recipes.

    Args:
        findings: The answers.
        labelled: The answers' task, with the names of classes if those are known.
        texts: The reviews' texts, or a sentence that says why there are none.
    """
    if labelled is None:
        return None
    by_id = {} if isinstance(texts, str) else texts.by_id
    content: dict[str, Any] | None
    if _right_or_wrong(findings):
        content = _of_right_or_wrong(findings, labelled, by_id)
    else:
        content = _of_scores(findings, labelled, by_id)
    if content is None:
        return None
    note = texts if isinstance(texts, str) else "The texts come from the data source; long ones are shortened."
    if not content["rows"]:
        note = content["none"]
    return content | {"note": note, "with_texts": bool(by_id)}


def disputed_ids(findings: Findings) -> list[int]:
    """Returns the ids of the reviews on which recipes disagree, whose texts the page shows."""
    if not _right_or_wrong(findings):
        graded = find_graded_disagreements(findings.answers)
        return [review.id for review in graded.shown] if graded is not None else []
    found = find_disagreements(findings.answers)
    return [review.id for review in found.shown] if found is not None else []


def _right_or_wrong(findings: Findings) -> bool:
    return all(seed.right_or_wrong for seeds in findings.answers.values() for seed in seeds)


def _of_right_or_wrong(findings: Findings, task: Task, by_id: Mapping[int, str]) -> dict[str, Any] | None:
    found = find_disagreements(findings.answers)
    if found is None:
        return None
    counts = {label: len(seeds) for label, seeds in findings.answers.items()}
    many = len(counts) >= MANY

    def cells(review: DisputedReview) -> list[dict[str, Any]]:
        if many:
            right = sum(review.right[label] > count / 2 for label, count in counts.items())
            return [{"said": f"{right} of {len(counts)}", "wrong": False, "answered": ""}]
        return [
            {"said": f"{review.right[label]} of {count}", "wrong": review.right[label] < count / 2, "answered": ""}
            for label, count in counts.items()
        ]

    which = (
        "How many recipes were right with most of their seeds" if many else "How many seeds of each recipe were right"
    )
    return {
        "summary": (
            f"Of {found.reviews:,} reviews every run got {found.all_right:,} right and {found.all_wrong:,} wrong."
            f" {found.clear:,} {'was' if found.clear == 1 else 'were'} right in all seeds of one recipe and wrong in"
            " all seeds of another."
        ),
        "none": "No review divides the recipes in most of their seeds.",
        "caption": f"{which}, the most disputed reviews first.",
        "headings": ["recipes right"] if many else list(counts),
        "rows": [_row(review.id, review.label, task, by_id) | {"cells": cells(review)} for review in found.shown],
    }


def _of_scores(findings: Findings, task: Task, by_id: Mapping[int, str]) -> dict[str, Any] | None:
    found = find_graded_disagreements(findings.answers)
    if found is None:
        return None
    metric = task.headline
    many = len(findings.answers) >= MANY

    def cell(review: GradedReview, label: str) -> dict[str, Any]:
        different = list(dict.fromkeys(task.answer_in_words(answer) for answer in review.answers[label]))
        answered = _shortened(" / ".join(different), SUMMARY_LETTERS)
        return {
            "said": metric.words(metric.oriented(review.scores[label])),
            "wrong": False,
            "answered": ": ".join(filter(None, (label, answered))) if many else answered,
        }

    def cells(review: GradedReview) -> list[dict[str, Any]]:
        ranked = sorted(review.scores, key=lambda label: -review.scores[label])
        return [cell(review, label) for label in ([ranked[0], ranked[-1]] if many else review.scores)]

    of_each = f"{metric.title} of {'the best and the worst recipe' if many else 'each recipe'}"
    return {
        "summary": (
            f"On the middle one of {found.reviews:,} reviews the best and the worst recipe are"
            f" {metric.gap(found.middle)} apart in {metric.name}, on one in twenty {metric.gap(found.large)} or more."
            f" On {found.clear:,} one recipe was better with every seed than another with any."
        ),
        "none": "On no review is one recipe better with every seed than another with any.",
        "caption": f"{of_each} in the mean of its seeds, and below it what they answered; the widest gaps first.",
        "headings": ["best recipe", "worst recipe"] if many else list(findings.answers),
        "rows": [_row(review.id, review.label, task, by_id) | {"cells": cells(review)} for review in found.shown],
    }


def _row(id: int, label: Any, task: Task, by_id: Mapping[int, str]) -> dict[str, Any]:
    text = by_id.get(id)
    flat = " ".join((text or "").split())
    return {
        "id": str(id),
        "label": task.label_in_words(label),
        "start": _shortened(flat, SUMMARY_LETTERS),
        "text": _shortened(text.strip(), TEXT_LETTERS) if text else "",
    }


def _shortened(text: str, letters: int) -> str:
    if len(text) <= letters:
        return text
    return text[:letters].rsplit(" ", 1)[0].rstrip(" ,.;:") + " …"
