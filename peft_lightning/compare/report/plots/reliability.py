"""Draws how often a recipe's answers are right where they are said to be right with some probability."""

from __future__ import annotations

import numpy as np

from peft_lightning.compare.report.certainty import Reliability
from peft_lightning.compare.report.plots.svg import FAINT, SURFACE, as_svg, drawing, series

WIDTH, HEIGHT = 256, 300


def draw_reliability(label: str, number: int, found: Reliability, lowest: float) -> str:
    """Draws accuracy by confidence above the number of decisions (a reliability diagram, Guo et al. 2017).

    Args:
        label: The recipe's label.
        number: The number of its colour and marker.
        found: The bins.
        lowest: Where the axis of confidence begins, the same for all recipes.

    Returns:
        The picture.
    """
    name = f"reliability-{number}"
    color, marker = series(number)
    bins = len(found.counts)
    some = found.counts > 0
    with drawing(name, WIDTH, HEIGHT) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        figure.subplots_adjust(
            left=50 / WIDTH, right=1 - 26 / WIDTH, top=1 - 22 / HEIGHT, bottom=42 / HEIGHT, hspace=0.22
        )
        above.plot((0, 1), (0, 1), color=FAINT, linewidth=1.0, linestyle=(0, (3, 3)))
        above.plot(
            found.confidence[some],
            found.accuracy[some],
            color=color,
            marker=marker,
            linewidth=1.3,
            markersize=6,
            markeredgecolor=SURFACE,
            markeredgewidth=0.7,
            clip_on=False,
        )
        below.bar((np.arange(bins) + 0.5) / bins, found.counts, width=0.84 / bins, color=color)
        above.set_ylim(min(lowest, *found.accuracy[some]), 1.0)
        above.set_xlim(lowest, 1.0)
        above.set_title("share that is right", loc="left", fontsize=12, color=FAINT, pad=5)
        below.set_title("decisions", loc="left", fontsize=12, color=FAINT, pad=4)
        below.set_xlabel("probability of the answer")
        for axes in (above, below):
            axes.grid(axis="y")
            axes.xaxis.set_major_formatter(_percent)
        above.yaxis.set_major_formatter(_percent)
        below.set_yticks([int(found.counts.max())], [f"{found.counts.max():,}"])
        return as_svg(figure, name, f"Reliability of {label}. {_in_words(found)}")


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:.0f} %"


def _in_words(found: Reliability) -> str:
    bins = len(found.counts)
    shown = [
        f"{_percent(place / bins)} to {_percent((place + 1) / bins)}: {_percent(found.accuracy[place])} of {count:,}"
        for place, count in enumerate(found.counts.tolist())
        if count
    ]
    return f"Right at a probability of {'; '.join(shown)}."
