"""The sections on classes or labels: how many texts have each, and how well each is found."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from peft_lightning.compare.fairness.settings import short_listing
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.label_rows import (
    FEW,
    MOST_LABELS,
    LabelRow,
    few_in_words,
    hardest,
    label_rows,
    training_labels,
)
from peft_lightning.compare.report.label_words import plural
from peft_lightning.compare.report.leaders import Leaders
from peft_lightning.compare.report.plots.label_dots import draw_by_label
from peft_lightning.compare.report.plots.share_bars import draw_shares
from peft_lightning.task import Metric

# A table of more rows than this shows those of the picture alone.
MOST_ROWS = 100
F1 = Metric("f1", "F1", lowest=0.0, highest=1.0)


def shares(leaders: Leaders, findings: Findings) -> dict[str, Any] | None:
    """Returns the shares of the classes or labels, with warnings about rare ones; None if the task has neither.

    Args:
        leaders: The recipes.
        findings: The records, for the training texts.
    """
    rows = label_rows(leaders, findings)
    if not rows:
        return None
    word = leaders.task.label_word
    train, texts, others = training_labels(leaders, findings, len(rows))
    half = MOST_LABELS // 2
    shown = rows if len(rows) <= MOST_LABELS else [*rows[:half], *rows[-half:]]
    notes = []
    if train is None:
        notes.append(f"The records do not say how many training texts have each {word}.")
    if others:
        notes.append(f"{short_listing(others)} trained on other numbers of texts.")
    if len(shown) < len(rows):
        notes.append(f"Of {len(rows)} {plural(word)} the {half} most frequent and the {half} rarest are shown.")
    svg = draw_shares([(row.name, row.train, row.test) for row in shown], texts, len(leaders.labels))
    return {
        "svg": Markup(svg),
        "with_train": train is not None,
        "warnings": few_in_words(rows, plural(word)),
        "notes": notes,
        "word": word,
    }


def by_label(leaders: Leaders, findings: Findings, metric: Metric) -> dict[str, Any] | None:
    """Returns F1 and the headline metric by class or label; None if the test has none.

    Args:
        leaders: The recipes.
        findings: The records, for the training texts.
        metric: The headline metric.
    """
    rows = label_rows(leaders, findings)
    shown = hardest(rows)
    if not shown:
        return None
    word = leaders.task.label_word
    known = sum(row.test > 0 for row in rows)
    listed = rows if len(rows) <= MOST_ROWS else shown
    names = [(row.name, row.test, row.few) for row in shown]
    scores = [{label: metric.oriented(value) for label, value in row.scores.items()} for row in shown]
    f1 = [row.f1 for row in shown]
    of_its_texts = f"{metric.name} on the texts of the {word}"
    notes = []
    if len(shown) < known:
        notes.append(f"Of {known} {plural(word)} the {len(shown)} with the lowest F1 are shown.")
    if any(row.few for row in shown):
        notes.append(f"Hollow: fewer than {FEW} test texts.")
    return {
        "pictures": [
            Markup(draw_by_label("f1-by-label", leaders.shown, names, f1, F1, f"F1 of the {word}")),
            Markup(draw_by_label("score-by-label", leaders.shown, names, scores, metric, of_its_texts)),
        ],
        "captions": (
            f"F1 of each {word}, the mean of the seeds; on the right the number of test texts that have it.",
            f"Test {metric.name} over the texts that have each {word}: what a text of that {word} can expect.",
        ),
        "legend": leaders.legend,
        "notes": [*notes, *([leaders.sentence] if leaders.sentence else [])],
        "word": word,
        "plural": plural(word),
        "labels": [leader.label for leader in leaders.shown],
        "rows": [_cells(row, leaders, metric) for row in listed],
    }


def _cells(row: LabelRow, leaders: Leaders, metric: Metric) -> dict[str, Any]:
    return {
        "name": row.name,
        "train": words.count(row.train),
        "test": words.count(row.test),
        "few": row.few,
        "cells": [
            {
                "f1": F1.words(row.f1[leader.label]),
                "score": metric.words(metric.oriented(row.scores[leader.label])),
            }
            for leader in leaders.shown
        ],
    }
