"""Accuracies as points with intervals, and against what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peft_lightning.compare.report.figure_words import percent, span
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.pareto import front
from peft_lightning.compare.report.plots.point_labels import Box, place_labels
from peft_lightning.compare.report.plots.svg import FAINT, FRONT, INK, SURFACE, as_svg, drawing, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROW = 46
LETTER = 7.2
# Room for the figures on the right: 100.0 %, and 22.6 – 100.0 beside it.
MARGIN = 170


def draw_accuracies(rows: Sequence[Figures], by_seed: Mapping[str, Sequence[float]]) -> tuple[str, str]:
    """Draws each recipe's accuracy with its interval, and its seeds.

    Args:
        rows: The recipes' figures.
        by_seed: Accuracy of each seed, by label.

    Returns:
        The picture and one sentence on its axis; both empty where nothing was tested.
    """
    shown = [(number, row) for number, row in enumerate(rows) if row.accuracy is not None]
    if not shown:
        return "", ""
    name, width, height = "accuracy", 640, ROW * len(shown) + 46
    left = min(190.0, 22 + LETTER * max(len(row.label) for _, row in shown))
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=left / width, right=1 - MARGIN / width, top=1 - 8 / height, bottom=38 / height)
        axes = figure.add_subplot()
        for place, (number, row) in enumerate(shown):
            color, marker = series(number)
            assert row.accuracy is not None
            if row.interval is not None:
                axes.plot(
                    [row.interval.low, row.interval.high],
                    [place] * 2,
                    color=color,
                    linewidth=2.4,
                    zorder=2,
                    clip_on=False,
                )
            seeds = by_seed.get(row.label, ())
            if len(seeds) > 1:
                axes.plot(seeds, [place + 0.27] * len(seeds), "|", color=color, markersize=7, markeredgewidth=1.4)
            axes.plot(
                row.accuracy, place, marker, color=color, markersize=9, markeredgecolor=SURFACE, zorder=3, clip_on=False
            )
            _beside(axes, place, 14, percent(row.accuracy), fontweight="bold")
            if row.interval is not None:
                _beside(axes, place, 74, span(row.interval), color=FAINT)
        low, high = _accuracy_limits(axes, [row for _, row in shown], by_seed)
        axes.set_xlim(low, high)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [row.label for _, row in shown], color=INK)
        axes.spines["left"].set_visible(False)
        _per_cent(axes.xaxis)
        axes.grid(axis="x")
        axes.set_xlabel("test accuracy")
        values = "; ".join(f"{row.label} {percent(row.accuracy)} ({span(row.interval)})" for _, row in shown)
        picture = as_svg(figure, name, f"Test accuracy with 95 % intervals: {values}.")
    return picture, _axis_in_words(low, high)


def draw_tradeoff(
    name: str, rows: Sequence[Figures], costs: Mapping[str, float], axis: str, in_words: str
) -> tuple[str, list[str]]:
    """Draws accuracy against a cost and marks the Pareto front.

    Args:
        name: The picture's word.
        rows: The recipes' figures.
        costs: What each costs, by label.
        axis: The title of the cost's axis, with its unit.
        in_words: The cost in running text.

    Returns:
        The picture and the labels on the front, cheapest first; empty with fewer than two points.
    """
    points = {
        row.label: (costs[row.label], row.accuracy) for row in rows if row.label in costs and row.accuracy is not None
    }
    if len(points) < 2:
        return "", []
    from matplotlib.ticker import MaxNLocator

    best = front(points)
    width, height = 480, 360
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=62 / width, right=1 - 14 / width, top=1 - 14 / height, bottom=44 / height)
        axes = figure.add_subplot()
        shown = [(number, row) for number, row in enumerate(rows) if row.label in points]
        low, high = _accuracy_limits(axes, [row for _, row in shown], {})
        axes.set_ylim(low, high)
        axes.set_xlim(0, 1.16 * max(cost for cost, _ in points.values()))
        steps = [points[label] for label in best]
        axes.plot(*zip(*steps, strict=True), color=FRONT, linewidth=7, drawstyle="steps-post", zorder=1)
        taken = _band(axes, steps)
        for number, row in shown:
            color, marker = series(number)
            cost, accuracy = points[row.label]
            if row.interval is not None:
                axes.plot([cost] * 2, [row.interval.low, row.interval.high], color=color, linewidth=1.2, zorder=2)
                (x, bottom), (_, top) = axes.transData.transform(
                    [(cost, row.interval.low), (cost, row.interval.high)]
                ).tolist()
                taken.append((x - 2, bottom, x + 2, top))
            filled = row.label in best
            axes.plot(
                cost,
                accuracy,
                marker,
                markersize=10,
                markerfacecolor=color if filled else SURFACE,
                markeredgecolor=SURFACE if filled else color,
                markeredgewidth=1.2 if filled else 1.8,
                zorder=3,
                clip_on=False,
            )
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(axis)
        axes.set_ylabel("test accuracy")
        _per_cent(axes.yaxis)
        place_labels(axes, list(points.values()), list(points), taken, color=INK)
        values = "; ".join(f"{label} {percent(good)} at {cost:.3g}" for label, (cost, good) in points.items())
        text = f"Test accuracy against {in_words}: {values}. On the Pareto front: {', '.join(best)}."
        return as_svg(figure, name, text), best


def _beside(axes: Axes, place: int, distance: int, text: str, **looks: Any) -> None:
    """Writes a figure in a column of its own, so many units to the right of the axes."""
    axes.annotate(
        text,
        (1.0, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(distance, 0),
        textcoords="offset points",
        va="center",
        **looks,
    )


def _band(axes: Axes, steps: Sequence[tuple[float, float]]) -> list[Box]:
    """The boxes of the front's band, which labels had better not cover."""
    shown = axes.transData.transform(steps).tolist()
    boxes: list[Box] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(shown):
        boxes += [(x, y - 4, next_x, y + 4), (next_x - 4, y, next_x + 4, next_y)]
    return boxes


def _accuracy_limits(
    axes: Axes, rows: Sequence[Figures], by_seed: Mapping[str, Sequence[float]]
) -> tuple[float, float]:
    values = [row.accuracy for row in rows if row.accuracy is not None]
    values += [end for row in rows if row.interval is not None for end in (row.interval.low, row.interval.high)]
    values += [value for row in rows for value in by_seed.get(row.label, ())]
    room = max(0.06 * (max(values) - min(values)), 0.004)
    return max(0.0, min(values) - room), min(1.0, max(values) + room)


def tick(share: float, _: float | None = None) -> str:
    """Words a tick of a share, no more decimals than it needs.

    Args:
        share: In 0 to 1.
    """
    return f"{round(100 * share, 6):g} %"


def _per_cent(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(tick)


def _axis_in_words(low: float, high: float) -> str:
    if low == 0:
        return ""
    return f"The axis runs from {percent(low, 0)} to {percent(high, 0)}, not from 0."
