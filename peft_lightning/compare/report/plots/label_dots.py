"""Draws a figure of each class or label: a row for each, a marker for each recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.label_words import width as width_of
from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.headline import LETTER
from peft_lightning.compare.report.plots.svg import FAINT, INK, LINE, SURFACE, as_svg, drawing, series
from peft_lightning.task import Metric

WIDTH, ROW = 440, 28
# Width for the number of texts on the right.
MARGIN = 60


def draw_by_label(
    name: str,
    leaders: Sequence[Leader],
    labels: Sequence[tuple[str, int, bool]],
    values: Sequence[Mapping[str, float]],
    metric: Metric,
    title: str,
) -> str:
    """Draws the figures; markers of classes or labels with few texts are hollow.

    Args:
        name: A word that is unique among the page's pictures.
        leaders: The recipes.
        labels: Name of each class or label, how many test texts have it, and whether those are few.
        values: Its figure by the recipe's label; NaN is not drawn.
        metric: Words the figures.
        title: What the figures are, for the axis.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator

    width, height = WIDTH, ROW * len(labels) + 46
    left = min(206.0, 26 + LETTER * max(width_of(label) for label, _, _ in labels))
    known = [value for row in values for value in row.values() if not math.isnan(value)]
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=left / width, right=1 - MARGIN / width, top=1 - 6 / height, bottom=40 / height)
        axes = figure.add_subplot()
        for place, row in enumerate(values):
            drawn = [row[leader.label] for leader in leaders if not math.isnan(row[leader.label])]
            if drawn:
                axes.plot([min(drawn), max(drawn)], [place] * 2, color=LINE, linewidth=3, zorder=1)
        for turn, leader in enumerate(leaders):
            color, marker = series(leader.number)
            # A little below each other, because equal figures would hide each other.
            shift = 0.5 * (turn - (len(leaders) - 1) / 2) / len(leaders)
            for hollow in (False, True):
                points = [
                    (row[leader.label], place + shift)
                    for place, (row, (_, _, few)) in enumerate(zip(values, labels, strict=True))
                    if few is hollow and not math.isnan(row[leader.label])
                ]
                if points:
                    axes.plot(
                        *zip(*points, strict=True),
                        marker,
                        color=color,
                        markersize=7.5,
                        markerfacecolor=SURFACE if hollow else color,
                        markeredgecolor=color if hollow else SURFACE,
                        markeredgewidth=1.5 if hollow else 0.7,
                        zorder=3,
                        clip_on=False,
                    )
        for place, (_, texts, few) in enumerate(labels):
            axes.annotate(
                f"{texts:,}",
                (1.0, place),
                xycoords=axes.get_yaxis_transform(),
                xytext=(MARGIN - 14, 0),
                textcoords="offset points",
                va="center",
                ha="right",
                color=INK if few else FAINT,
                fontweight="bold" if few else "normal",
            )
        low, high = min(known, default=0.0), max(known, default=1.0)
        room = max(0.05 * (high - low), 0.01)
        axes.set_xlim(max(metric.lowest, low - room), min(metric.highest, high + room))
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), [label for label, _, _ in labels], color=INK)
        axes.tick_params(axis="y", pad=9)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: metric.tick(value))
        axes.grid(axis="x")
        axes.set_xlabel(title)
        text = "; ".join(
            f"{label} ({words.texts(texts)}) "
            + ", ".join(f"{leader.label} {metric.words(row[leader.label])}" for leader in leaders)
            for (label, texts, _), row in zip(labels, values, strict=True)
        )
        return as_svg(figure, name, f"{title}: {text}.")
