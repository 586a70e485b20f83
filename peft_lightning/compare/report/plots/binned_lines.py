"""Draws a figure over groups of texts, such as those of one length: a line for each recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.svg import INK, SURFACE, as_svg, drawing, series
from peft_lightning.task import Metric

WIDTH, HEIGHT = 640, 330


def draw_by_bin(
    name: str,
    leaders: Sequence[Leader],
    bins: Sequence[tuple[str, int]],
    values: Mapping[str, Sequence[float]],
    metric: Metric,
    title: str,
) -> str:
    """Draws the figures.

    Args:
        name: A word that is unique among the page's pictures.
        leaders: The recipes.
        bins: Name of each group, and how many texts are in it.
        values: The figure of each group, by the recipe's label.
        metric: Words the figures.
        title: What divides the groups, for the axis.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator

    every = [value for row in values.values() for value in row if not math.isnan(value)]
    with drawing(name, WIDTH, HEIGHT) as figure:
        figure.subplots_adjust(left=64 / WIDTH, right=1 - 12 / WIDTH, top=1 - 10 / HEIGHT, bottom=62 / HEIGHT)
        axes = figure.add_subplot()
        for place, leader in enumerate(leaders):
            color, marker = series(leader.number)
            # Side by side, because equal points would hide each other.
            shift = 0.07 * (place - (len(leaders) - 1) / 2)
            axes.plot(
                np.arange(len(bins)) + shift,
                values[leader.label],
                marker=marker,
                color=color,
                linewidth=1.4,
                markersize=7,
                markeredgecolor=SURFACE,
                markeredgewidth=0.7,
                clip_on=False,
            )
        low, high = min(every, default=0.0), max(every, default=1.0)
        size = 1.0 if math.isfinite(metric.highest - metric.lowest) else max(abs(low), abs(high))
        room = max(0.08 * (high - low), 0.004 * size)
        axes.set_ylim(max(metric.lowest, low - room), min(metric.highest, high + room))
        axes.set_xlim(-0.5, len(bins) - 0.5)
        axes.set_xticks(range(len(bins)), [f"{label}\n{words.texts(count)}" for label, count in bins], color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: metric.tick(value))
        axes.set_ylabel(f"test {metric.name}")
        axes.set_xlabel(title)
        axes.grid(axis="y")
        text = "; ".join(
            f"{label}, {words.texts(count)}: "
            + ", ".join(f"{leader.label} {metric.words(values[leader.label][place])}" for leader in leaders)
            for place, (label, count) in enumerate(bins)
        )
        return as_svg(figure, name, f"Test {metric.name} by {title}. {text}.")
