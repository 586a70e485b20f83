"""The section on answers that are numbers: against their labels, and their errors by the size of the label."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.label_words import name_in_short
from peft_lightning.compare.report.leaders import Leader, Leaders
from peft_lightning.compare.report.plots.binned_lines import draw_by_bin
from peft_lightning.compare.report.plots.number_panels import MOST_POINTS, draw_numbers
from peft_lightning.task import Metric

Floats = npt.NDArray[np.float64]
BINS = 6
# Of several numbers a text so many are shown, each of so many recipes.
MOST_NUMBERS = 4
MOST_OF_SEVERAL = 4
WORST = 10
ERROR = Metric("mae", "mean absolute error", higher_is_better=False, lowest=0.0)


def numbers(leaders: Leaders) -> dict[str, Any] | None:
    """Returns the answers against the labels, number by number; None if answers are no numbers.

    Args:
        leaders: The recipes.
    """
    labels = leaders.task.as_numbers(leaders.labels)
    if labels is None:
        return None
    names = leaders.task.output_names
    several = labels.shape[1] > 1
    shown = leaders.shown[:MOST_OF_SEVERAL] if several else leaders.shown
    notes = []
    if labels.shape[1] > MOST_NUMBERS:
        notes.append(f"Of {labels.shape[1]} numbers the first {MOST_NUMBERS} are shown.")
    if len(shown) < len(leaders.shown):
        notes.append(f"The answers of the first {len(shown)} recipes are shown, and the errors of all.")
    if leaders.sentence:
        notes.append(leaders.sentence)
    answers = {leader.label: _answers(leader) for leader in leaders.shown}
    return {
        "legend": leaders.legend,
        "notes": notes,
        "dense": len(labels) * max(len(leader.answers) for leader in shown) > MOST_POINTS,
        "labels": [leader.label for leader in leaders.shown],
        "numbers": [
            _number(number, names[number] if several else "", leaders, shown, labels, answers)
            for number in range(min(labels.shape[1], MOST_NUMBERS))
        ],
    }


def _answers(leader: Leader) -> Floats:
    """Returns a recipe's answers, shape (seeds, n, numbers)."""
    found = [seed.task.as_numbers(seed.answers) for seed in leader.answers]
    return np.stack([values for values in found if values is not None])


def _number(
    number: int,
    name: str,
    leaders: Leaders,
    shown: tuple[Leader, ...],
    labels: Floats,
    answers: dict[str, Floats],
) -> dict[str, Any]:
    truth = labels[:, number]
    answered = {label: values[:, :, number] for label, values in answers.items()}
    of_shown = [truth, *(answered[leader.label].ravel() for leader in shown)]
    low, high = min(float(part.min()) for part in of_shown), max(float(part.max()) for part in of_shown)
    room = 0.04 * (high - low) or 0.04 * max(abs(high), 1.0)
    limits = low - room, high + room
    groups = size_groups(truth)
    errors = {
        label: [float(np.abs(values[:, rows] - truth[rows]).mean()) for _, rows in groups]
        for label, values in answered.items()
    }
    biases = {
        label: [float((values[:, rows] - truth[rows]).mean()) for _, rows in groups]
        for label, values in answered.items()
    }
    bins = [(text, int(rows.sum())) for text, rows in groups]
    every = np.mean([np.abs(values - truth).mean(axis=0) for values in answered.values()], axis=0)
    return {
        "name": name_in_short(name) if name else "",
        "panels": [
            {
                "label": leader.label,
                "series": leader.number % 8 + 1,
                "svg": Markup(
                    draw_numbers(
                        f"numbers-{number}-{place}", leader, truth, answered[leader.label], leaders.ids, limits
                    )
                ),
                "caption": f"{words.runs(len(leader.answers))}, {_error_in_words(answered[leader.label], truth)}",
            }
            for place, leader in enumerate(shown)
        ],
        "by_size": Markup(
            draw_by_bin(f"by-size-{number}", leaders.shown, bins, errors, ERROR, "size of the label").replace(
                'class="plot"', 'class="plot wide-plot"', 1
            )
        ),
        "rows": [
            {
                "name": text,
                "texts": f"{count:,}",
                "cells": [
                    {"error": ERROR.words(errors[leader.label][place]), "bias": signed(biases[leader.label][place])}
                    for leader in leaders.shown
                ],
            }
            for place, (text, count) in enumerate(bins)
        ],
        "worst": [
            {
                "id": int(leaders.ids[place]),
                "label": f"{truth[place]:.4g}",
                "cells": [f"{answered[leader.label][:, place].mean():.4g}" for leader in leaders.shown],
            }
            for place in np.argsort(-every, kind="stable")[:WORST].tolist()
        ],
    }


def size_groups(values: Floats) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Divides texts by the size of their label into groups of about the same number of texts.

    Args:
        values: The labels, shape (n,).

    Returns:
        The name of each group, such as ``1 to 2.5``, and which texts are in it, shape (n,); lowest first.
    """
    edges = np.unique([values.min(), *np.quantile(values, np.arange(1, BINS) / BINS, method="lower")])
    groups = []
    for low, after in zip(edges, [*edges[1:], np.inf], strict=True):
        rows = (values >= low) & (values < after)
        first, last = float(values[rows].min()), float(values[rows].max())
        groups.append((f"{first:.3g}" if first == last else f"{first:.3g} to {last:.3g}", rows))
    return groups


def signed(value: float) -> str:
    """Words a difference from the label with its sign, a true minus."""
    return f"{'−' if value < 0 else '+'}{ERROR.words(abs(value))}"


def _error_in_words(answered: Floats, truth: Floats) -> str:
    return f"mean error {signed(float((answered - truth).mean()))}"
