"""The section on the headline metric by the length of the text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from peft_lightning.compare.report.leaders import Leaders
from peft_lightning.compare.report.plots.binned_lines import draw_by_bin
from peft_lightning.compare.report.study import Study
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import Metric

BINS = 5
# So many texts of the greatest length are a group of their own: they were cut, or just fit.
ENOUGH_CUT = 10


def by_length(study: Study, leaders: Leaders, metric: Metric) -> dict[str, Any]:
    """Returns the headline metric by length, or a sentence that says why lengths are not known.

    Args:
        study: The runs, for how long a text could be.
        leaders: The recipes.
        metric: The headline metric.
    """
    measured = next(
        ((leader.label, seed) for leader in leaders.shown for seed in leader.answers if seed.lengths is not None), None
    )
    if measured is None:
        return {"missing": "The lengths of the texts are not in these runs' answers: they are older than that column."}
    label, answers = measured
    assert answers.lengths is not None
    longest = _max_length(study, answers)
    groups = length_groups(answers.lengths, longest)
    values = {
        leader.label: [metric.oriented(float(leader.scores[rows].mean())) for _, rows in groups]
        for leader in leaders.shown
    }
    bins = [(name, int(rows.sum())) for name, rows in groups]
    notes = []
    if longest is not None and (count := int((answers.lengths >= longest).sum())):
        texts = f"{count:,} of {len(answers.lengths):,} texts"
        notes.append(f"{texts} had all {longest} tokens that a text may have: the longer ones were cut there.")
    if _counted_otherwise(leaders, answers.lengths):
        notes.append(f"Tokens are those of {label}; other recipes' tokenizers or limits count others.")
    if leaders.sentence:
        notes.append(leaders.sentence)
    return {
        "missing": "",
        "svg": Markup(
            draw_by_bin("by-length", leaders.shown, bins, values, metric, "tokens of the text").replace(
                'class="plot"', 'class="plot wide-plot"', 1
            )
        ),
        "legend": leaders.legend,
        "notes": notes,
        "labels": [leader.label for leader in leaders.shown],
        "rows": [
            {
                "name": name,
                "texts": f"{count:,}",
                "chance": metric.gap(_by_chance(leaders, rows)) if count > 1 else "–",
                "cells": [metric.words(values[leader.label][place]) for leader in leaders.shown],
            }
            for place, ((name, count), (_, rows)) in enumerate(zip(bins, groups, strict=True))
        ],
    }


def length_groups(
    lengths: npt.NDArray[np.int64], longest: int | None = None
) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Divides texts by their length into groups of about the same size.

    Args:
        lengths: Number of tokens of each text, shape (n,).
        longest: Number of tokens that texts were cut to, if known; those as long are a group, unless they are few.

    Returns:
        The name of each group, such as ``8-31``, and which texts are in it, shape (n,); shortest first.
    """
    cut = lengths >= longest if longest is not None else np.zeros(len(lengths), dtype=bool)
    if cut.sum() < ENOUGH_CUT:
        cut = np.zeros(len(lengths), dtype=bool)
    groups = []
    whole = lengths[~cut]
    if len(whole):
        # Each edge is the first length of a group; a frequent length can be several quantiles.
        inner = np.quantile(whole, np.arange(1, BINS) / BINS, method="lower")
        edges = np.unique([whole.min(), *inner])
        for low, after in zip(edges, [*edges[1:], whole.max() + 1], strict=True):
            rows = ~cut & (lengths >= low) & (lengths < after)
            first, last = int(lengths[rows].min()), int(lengths[rows].max())
            groups.append((f"{first}" if first == last else f"{first}–{last}", rows))
    if cut.any():
        groups.append((f"{longest}, cut", cut))
    return groups


def _by_chance(leaders: Leaders, rows: npt.NDArray[np.bool_]) -> float:
    """Returns the largest half width of the recipes' 95 % intervals for new texts."""
    spreads = [float(leader.scores[rows].std(ddof=1)) for leader in leaders.shown]
    return 1.96 * max(spreads) / math.sqrt(int(rows.sum()))


def _max_length(study: Study, answers: Answers) -> int | None:
    for recipe in study.recipes:
        for run, record in recipe.finished:
            if run.answers is answers and record.dataset is not None:
                # In windows nothing is cut.
                return record.dataset.max_length if record.dataset.windows is None else None
    return None


def _counted_otherwise(leaders: Leaders, lengths: npt.NDArray[np.int64]) -> bool:
    return any(
        seed.lengths is not None and not np.array_equal(seed.lengths, lengths)
        for leader in leaders.shown
        for seed in leader.answers
    )
