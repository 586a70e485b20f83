"""The sections on answers: the confusion of classes, and the reviews on which recipes disagree."""

from __future__ import annotations

from typing import Any

import numpy as np

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.disagreements import DisputedReview, find_disagreements
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.study import MANY, Study
from peft_lightning.compare.report.texts import Texts
from peft_lightning.task import Task

SUMMARY_LETTERS, TEXT_LETTERS = 72, 1200


def confusions(study: Study, findings: Findings, labelled: Task | None) -> list[dict[str, Any]]:
    """Returns the confusion matrix of each recipe; empty if the task has no classes.

    Args:
        study: The runs.
        findings: Their answers.
        labelled: The answers' task, with the names of classes if those are known.
    """
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
    found = find_disagreements(findings.answers)
    if found is None or labelled is None:
        return None
    summary = (
        f"Of {found.reviews:,} reviews every run got {found.all_right:,} right and {found.all_wrong:,} wrong."
        f" {found.clear:,} {'was' if found.clear == 1 else 'were'} right in all seeds of one recipe and wrong in all"
        " seeds of another."
    )
    note = texts if isinstance(texts, str) else "The texts come from the data source; long ones are shortened."
    if not found.shown:
        note = "No review divides the recipes in most of their seeds."
    by_id = {} if isinstance(texts, str) else texts.by_id
    counts = {label: len(seeds) for label, seeds in findings.answers.items()}
    return {
        "summary": summary,
        "note": note,
        "labels": list(counts),
        "with_texts": bool(by_id),
        "many": len(counts) >= MANY,
        "rows": [_row(review, counts, labelled, by_id.get(review.id)) for review in found.shown],
    }


def disputed_ids(findings: Findings) -> list[int]:
    """Returns the ids of the reviews on which recipes disagree, whose texts the page shows."""
    found = find_disagreements(findings.answers)
    return [review.id for review in found.shown] if found is not None else []


def _row(review: DisputedReview, counts: dict[str, int], task: Task, text: str | None) -> dict[str, Any]:
    flat = " ".join((text or "").split())
    return {
        "id": str(review.id),
        "label": task.label_in_words(review.label),
        "cells": [
            {"said": f"{review.right[label]} of {count}", "wrong": review.right[label] < count / 2}
            for label, count in counts.items()
        ],
        "right": f"{sum(review.right[label] > count / 2 for label, count in counts.items())} of {len(counts)}",
        "start": _shortened(flat, SUMMARY_LETTERS),
        "text": _shortened(text.strip(), TEXT_LETTERS) if text else "",
    }


def _shortened(text: str, letters: int) -> str:
    if len(text) <= letters:
        return text
    return text[:letters].rsplit(" ", 1)[0].rstrip(" ,.;:") + " …"
