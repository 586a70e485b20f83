"""The section on the reviews on which recipes disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft_lightning.compare.report.disagreements import Disagreements, DisputedReview, find_disagreements
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.graded_disagreements import (
    GradedDisagreements,
    GradedReview,
    find_graded_disagreements,
)
from peft_lightning.compare.report.study import MANY
from peft_lightning.compare.report.texts import Texts
from peft_lightning.task import Task

SUMMARY_LETTERS, TEXT_LETTERS = 72, 1200


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
    found = _found(findings)
    if found is None:
        return None
    if isinstance(found, Disagreements):
        content = _of_right_or_wrong(found, findings, labelled, by_id)
    else:
        content = _of_scores(found, findings, labelled, by_id)
    note = texts if isinstance(texts, str) else "The texts come from the data source; long ones are shortened."
    if not content["rows"]:
        note = content["none"]
    return content | {"note": note, "with_texts": bool(by_id)}


def disputed_ids(findings: Findings) -> list[int]:
    """Returns the ids of the reviews on which recipes disagree, whose texts the page shows."""
    found = _found(findings)
    return [review.id for review in found.shown] if found is not None else []


def _found(findings: Findings) -> Disagreements | GradedDisagreements | None:
    return find_disagreements(findings.answers) or find_graded_disagreements(findings.answers)


def _of_right_or_wrong(
    found: Disagreements, findings: Findings, task: Task, by_id: Mapping[int, str]
) -> dict[str, Any]:
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


def _of_scores(found: GradedDisagreements, findings: Findings, task: Task, by_id: Mapping[int, str]) -> dict[str, Any]:
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
