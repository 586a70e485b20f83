"""Draws the learning curves of many recipes in one picture: a few in colour, the others in grey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from peft_lightning.compare.report.plots.learning_curves import BUCKETS
from peft_lightning.compare.report.plots.svg import FAINT, GHOST, SERIES, as_svg, drawing, series
from peft_lightning.runs.curves import Curves, Points, decimate, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# As many as there are colours.
MOST_SHOWN = len(SERIES)
NAME = "curves"


def draw_overview(curves: Mapping[str, Sequence[Curves]], coloured: Sequence[str]) -> str:
    """Draws training loss and the validation metric by step, a line for the mean of each recipe's seeds.

    Args:
        curves: The curves of every recipe, one entry for each seed.
        coloured: The labels of the recipes in colour, at most eight; each line has its label where it is pointed at.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    metric = next(iter(curves.values()))[0].metric
    width, height = 960, 420
    titles: dict[str, str] = {}
    drawn: tuple[tuple[str, str, Callable[[Points], Points]], ...] = (
        ("train/loss", "training loss, smoothed", lambda points: (points[0], smooth(points[1])[0])),
        (metric.validation, f"validation {metric.name}", lambda points: points),
    )
    with drawing(NAME, width, height) as figure:
        for axes, (name, title, shape) in zip(figure.subplots(1, 2), drawn, strict=True):
            # Grey lines first, so that none covers a coloured one.
            for label in sorted(curves, key=lambda label: label in coloured):
                found = [shape(points) for curve in curves[label] if (points := curve.points(name)) is not None]
                if not found:
                    continue
                mark = f"{name.replace('/', '-')}-{list(curves).index(label)}"
                titles[mark] = label
                place = coloured.index(label) if label in coloured else None
                _line(axes, *mean_curve(found), mark, place)
            axes.set_title(title, loc="left", fontsize=12, color=FAINT, pad=5)
            axes.set_xlim(0, 1.03 * max(1, *(curve.step for seeds in curves.values() for curve in seeds)))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axes.set_xlabel("optimiser step")
            axes.grid(axis="y")
            if name == metric.validation:
                axes.yaxis.set_major_formatter(lambda value, _: metric.tick(value))
        figure.subplots_adjust(
            left=52 / width, right=1 - 10 / width, top=1 - 26 / height, bottom=44 / height, wspace=0.14
        )
        text = f"Learning curves of {len(curves)} recipes; in colour {', '.join(coloured) or 'none'}."
        return as_svg(figure, NAME, text, titles)


def mean_curve(curves: Sequence[Points]) -> Points:
    """Returns the mean of several curves at the steps that all of them have.

    Args:
        curves: Steps and values of each, steps ascending.

    Returns:
        Steps and means; those of the longest curve if the curves share no step.
    """
    shared = curves[0][0]
    for steps, _ in curves[1:]:
        shared = np.intersect1d(shared, steps)
    if not len(shared):
        return max(curves, key=lambda points: len(points[0]))
    values = [values[np.searchsorted(steps, shared)] for steps, values in curves]
    return shared, np.mean(values, axis=0)


def _line(axes: Axes, steps: np.ndarray[Any, Any], values: np.ndarray[Any, Any], mark: str, place: int | None) -> None:
    shown = decimate(values, BUCKETS)
    color, width = (GHOST, 1.1) if place is None else (series(place)[0], 1.8)
    looks: dict[str, Any] = {"marker": "."} if len(shown) == 1 else {}
    axes.plot(steps[shown], values[shown], color=color, linewidth=width, gid=mark, **looks)
