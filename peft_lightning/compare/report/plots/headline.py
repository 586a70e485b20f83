"""Draws the recipes' headline metric: as points with intervals, and against memory or time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peft_lightning.compare.report.figure_words import span
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.pareto import front
from peft_lightning.compare.report.plots.point_labels import Box, place_labels
from peft_lightning.compare.report.plots.svg import FAINT, FRONT, INK, SERIES, SURFACE, as_svg, drawing, series
from peft_lightning.compare.report.study import MANY
from peft_lightning.task import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROW, ROW_OF_MANY = 46, 25
LETTER = 7.2
# Width for the figures on the right: 100.0 %, and 22.6 – 100.0 beside it.
MARGIN = 170


def draw_headlines(rows: Sequence[Figures], by_seed: Mapping[str, Sequence[float]], metric: Metric) -> tuple[str, str]:
    """Draws each recipe's headline metric with its interval, and its seeds.

    Args:
        rows: The recipes' figures.
        by_seed: The metric of each seed, by the recipe's label.
        metric: The metric.

    Returns:
        The picture, and a sentence on its axis; both are empty if nothing was tested.
    """
    shown = [(number, row) for number, row in enumerate(rows) if row.headline is not None]
    if not shown:
        return "", ""
    many = len(rows) >= MANY
    name, width, height = metric.slug, 640, (ROW_OF_MANY if many else ROW) * len(shown) + 46
    left = min(190.0, 22 + LETTER * max(len(row.label) for _, row in shown))
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=left / width, right=1 - MARGIN / width, top=1 - 8 / height, bottom=38 / height)
        axes = figure.add_subplot()
        for place, (number, row) in enumerate(shown):
            # Colours that repeat would say that recipes belong together.
            color, marker = series(0 if many else number)
            assert row.headline is not None
            if row.interval is not None:
                axes.plot(
                    [row.interval.low, row.interval.high],
                    [place] * 2,
                    color=color,
                    linewidth=1.8 if many else 2.4,
                    zorder=2,
                    clip_on=False,
                )
            seeds = by_seed.get(row.label, ())
            if len(seeds) > 1:
                beside = place + (0.32 if many else 0.27)
                axes.plot(
                    seeds, [beside] * len(seeds), "|", color=color, markersize=4 if many else 7, markeredgewidth=1.4
                )
            axes.plot(
                row.headline,
                place,
                marker,
                color=color,
                markersize=7 if many else 9,
                markeredgecolor=SURFACE,
                zorder=3,
                clip_on=False,
            )
            _beside(axes, place, 14, metric.words(row.headline), fontweight="bold")
            if row.interval is not None:
                _beside(axes, place, 74, span(row.interval, metric), color=FAINT)
        low, high = _limits([row for _, row in shown], by_seed, metric)
        axes.set_xlim(low, high)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [row.label for _, row in shown], color=INK)
        axes.spines["left"].set_visible(False)
        _ticked(axes.xaxis, metric)
        axes.grid(axis="x")
        axes.set_xlabel(f"test {metric.name}")
        values = "; ".join(
            f"{row.label} {metric.words(row.headline)} ({span(row.interval, metric)})" for _, row in shown
        )
        picture = as_svg(figure, name, f"Test {metric.name} with 95 % intervals: {values}.")
    return picture, _axis_in_words(low, high, metric)


def draw_tradeoff(
    name: str,
    rows: Sequence[Figures],
    costs: Mapping[str, float],
    axis: str,
    in_words: str,
    metric: Metric,
    baseline: str | None = None,
) -> tuple[str, list[str]]:
    """Draws the headline metric against a cost and marks the Pareto front.

    Of many recipes only those on the front, the extremes and the baseline have labels and intervals. The others are
    grey, and named where they are pointed at.

    Args:
        name: A word that is unique among the page's pictures.
        rows: The recipes' figures.
        costs: Each recipe's cost, by its label.
        axis: The title of the cost's axis, with its unit.
        in_words: The name of the cost in running text.
        metric: The metric.
        baseline: The label of the recipe that all others are compared with; None if there is none.

    Returns:
        The picture, and the labels on the front, cheapest first; both are empty with fewer than two points.
    """
    points = {
        row.label: (costs[row.label], row.headline) for row in rows if row.label in costs and row.headline is not None
    }
    if len(points) < 2:
        return "", []
    from matplotlib.ticker import MaxNLocator

    best = front({label: (cost, metric.oriented(value)) for label, (cost, value) in points.items()})
    many = len(rows) >= MANY
    named = _named(points, best, metric, baseline) if many else list(points)
    width, height = 480, 360
    titles: dict[str, str] = {}
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=62 / width, right=1 - 14 / width, top=1 - 14 / height, bottom=44 / height)
        axes = figure.add_subplot()
        shown = [(number, row) for number, row in enumerate(rows) if row.label in points]
        low, high = _limits([row for _, row in shown], {}, metric)
        axes.set_ylim(low, high)
        axes.set_xlim(0, 1.16 * max(cost for cost, _ in points.values()))
        steps = [points[label] for label in best]
        axes.plot(*zip(*steps, strict=True), color=FRONT, linewidth=7, drawstyle="steps-post", zorder=1)
        taken = _band(axes, steps)
        for number, row in shown:
            color, marker = series(number)
            cost, value = points[row.label]
            gid = None
            if many:
                color, marker, gid = SERIES[0] if row.label in named else FAINT, "o", f"point-{number}"
                titles[gid] = f"{row.label}: {metric.words(value)} at {cost:.3g}"
            if row.interval is not None and row.label in named:
                axes.plot([cost] * 2, [row.interval.low, row.interval.high], color=color, linewidth=1.2, zorder=2)
                (x, bottom), (_, top) = axes.transData.transform(
                    [(cost, row.interval.low), (cost, row.interval.high)]
                ).tolist()
                taken.append((x - 2, bottom, x + 2, top))
            filled = row.label in best
            axes.plot(
                cost,
                value,
                marker,
                markersize=10 if row.label in named else 6,
                gid=gid,
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
        axes.set_ylabel(f"test {metric.name}")
        _ticked(axes.yaxis, metric)
        others = axes.transData.transform([points[label] for label in points if label not in named] or [(0, 0)])
        taken += [(x - 4, y - 4, x + 4, y + 4) for x, y in others.tolist()]
        place_labels(axes, [points[label] for label in named], named, taken, color=INK)
        values = "; ".join(f"{label} {metric.words(good)} at {cost:.3g}" for label, (cost, good) in points.items())
        text = f"Test {metric.name} against {in_words}: {values}. On the Pareto front: {', '.join(best)}."
        return as_svg(figure, name, text, titles), best


def _named(
    points: Mapping[str, tuple[float, float]], best: Sequence[str], metric: Metric, baseline: str | None
) -> list[str]:
    """Returns the labels to write of many: the front, the dearest, the worst and the baseline."""
    dearest = max(points, key=lambda label: points[label][0])
    worst = min(points, key=lambda label: metric.oriented(points[label][1]))
    wanted = {*best, dearest, worst, baseline}
    return [label for label in points if label in wanted]


def _beside(axes: Axes, place: int, distance: int, text: str, **looks: Any) -> None:
    """Writes a figure in a column ``distance`` units to the right of the axes."""
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
    """Returns the boxes of the front's band, which labels should not cover."""
    shown = axes.transData.transform(steps).tolist()
    boxes: list[Box] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(shown):
        boxes += [(x, y - 4, next_x, y + 4), (next_x - 4, y, next_x + 4, next_y)]
    return boxes


def _limits(rows: Sequence[Figures], by_seed: Mapping[str, Sequence[float]], metric: Metric) -> tuple[float, float]:
    values = [row.headline for row in rows if row.headline is not None]
    values += [end for row in rows if row.interval is not None for end in (row.interval.low, row.interval.high)]
    values += [value for row in rows for value in by_seed.get(row.label, ())]
    # If all values are equal, the scale of a metric without bounds is taken from their size.
    size = 1.0 if math.isfinite(metric.highest - metric.lowest) else max(map(abs, values))
    room = max(0.06 * (max(values) - min(values)), 0.004 * size)
    return max(metric.lowest, min(values) - room), min(metric.highest, max(values) + room)


def _ticked(axis: Axis, metric: Metric) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda value, _: metric.tick(value))


def _axis_in_words(low: float, high: float, metric: Metric) -> str:
    if low == 0:
        return ""
    return f"The axis runs from {metric.roughly(low)} to {metric.roughly(high)}, not from 0."
