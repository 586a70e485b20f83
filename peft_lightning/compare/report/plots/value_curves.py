"""Draws a figure of each recipe over the values of a sweep, with intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peft_lightning.compare.report.plots.svg import FAINT, LINE, SURFACE, as_svg, drawing, series
from peft_lightning.compare.statistics import Interval
from peft_lightning.task import Metric

WIDTH, HEIGHT = 680, 380
# The largest value is so many times the smallest where the axis is logarithmic.
LOGARITHMIC_FROM = 8.0
# Share of the distance between two values over which the recipes' points are spread, so that no interval hides another.
SPREAD = 0.12


@dataclass(frozen=True)
class ValuePoint:
    """A recipe's figure at one value; ``interval`` is None where it has none."""

    value: str
    height: float
    interval: Interval | None


def draw_values(
    name: str,
    curves: Mapping[str, Sequence[ValuePoint]],
    places: Mapping[str, int],
    values: Sequence[str],
    numbers: Sequence[float] | None,
    metric: Metric,
    titles: tuple[str, str],
    zero: bool = False,
) -> str:
    """Draws a line for each recipe.

    Args:
        name: A word that is unique among the page's pictures.
        curves: The points of each recipe.
        places: The number of each recipe, which gives it its colour and marker.
        values: The values in their order.
        numbers: The values as numbers, which give them their places; None for words, at equal distances.
        metric: The metric.
        titles: The titles of the horizontal and the vertical axis.
        zero: Whether heights are differences, with a line at 0.

    Returns:
        The picture; empty without a point.
    """
    if not any(curves.values()):
        return ""
    ordered, logarithmic, along = _axis(values, numbers)
    nearest = min((later - before for before, later in itertools.pairwise(along)), default=1.0)
    place_of = dict(zip(ordered, along, strict=True))
    with drawing(name, WIDTH, HEIGHT) as figure:
        figure.subplots_adjust(left=82 / WIDTH, right=1 - 14 / WIDTH, top=1 - 44 / HEIGHT, bottom=48 / HEIGHT)
        axes = figure.add_subplot()
        if zero:
            axes.axhline(0, color=FAINT, linewidth=1.2)
        for turn, (label, points) in enumerate(curves.items()):
            color, marker = series(places[label])
            aside = SPREAD * nearest * (turn - (len(curves) - 1) / 2) / max(1, len(curves) - 1)
            shown = sorted(points, key=lambda point: place_of[point.value])
            x = [place_of[point.value] + aside for point in shown]
            for at, point in zip(x, shown, strict=True):
                if point.interval is not None:
                    axes.plot([at] * 2, [point.interval.low, point.interval.high], color=color, linewidth=1.4)
            axes.plot(
                x,
                [point.height for point in shown],
                color=color,
                marker=marker,
                linewidth=1.6,
                markersize=8,
                markeredgecolor=SURFACE,
                label=label,
            )
        axes.set_xticks(list(along), list(ordered))
        room = 0.35 * nearest
        axes.set_xlim(along[0] - room, along[-1] + room)
        axes.yaxis.set_major_formatter(lambda value, _: _tick(value, metric) if zero else metric.tick(value))
        axes.grid(axis="y", color=LINE)
        axes.set_xlabel(f"{titles[0]}{', logarithmic axis' if logarithmic else ''}")
        axes.set_ylabel(titles[1])
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=6, frameon=False, columnspacing=1.2)
        return as_svg(figure, name, _in_words(titles[1], curves, metric, zero))


def _tick(value: float, metric: Metric) -> str:
    """Formats a tick of an axis of differences: in points without a unit, with a sign."""
    text = f"{round(100 * value if metric.percent else value, 6):+g}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def _axis(values: Sequence[str], numbers: Sequence[float] | None) -> tuple[list[str], bool, list[float]]:
    """Returns the values from left to right, whether the axis is logarithmic, and the place of each value."""
    if numbers is None:
        return list(values), False, [float(number) for number in range(len(values))]
    pairs = sorted(zip(numbers, values, strict=True))
    logarithmic = pairs[0][0] > 0 and pairs[-1][0] >= LOGARITHMIC_FROM * pairs[0][0]
    places = [math.log10(number) if logarithmic else number for number, _ in pairs]
    return [value for _, value in pairs], logarithmic, places


def _in_words(title: str, curves: Mapping[str, Sequence[ValuePoint]], metric: Metric, zero: bool) -> str:
    def words(height: float) -> str:
        return metric.difference(height, signed=True) if zero else metric.words(height)

    lines = [
        f"{label} {', '.join(f'{words(point.height)} at {point.value}' for point in points)}"
        for label, points in curves.items()
    ]
    return f"{title}, with 95 % intervals: {'; '.join(lines)}."
