"""Draws a recipe's learning curves with all its seeds, on axes that all recipes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from peft_lightning.compare.report.plots.svg import FAINT, GHOST, as_svg, drawing, series
from peft_lightning.runs.curves import Curves, decimate, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Limits = tuple[float, float]
# Points of a curve. Every panel shows every run, and more points than pixels would only make the page larger.
BUCKETS = 120


def draw_curves(label: str, number: int, curves: Mapping[str, Sequence[Curves]]) -> str:
    """Draws training and validation loss above the validation metric, by step.

    Args:
        label: The recipe's label.
        number: Its position among the recipes.
        curves: The curves of every recipe, one entry for each seed. Those of the others are drawn in grey, and set the
            limits too.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    name, width, height = f"curves-{number}", 256, 310
    color, _ = series(number)
    every = [curve for seeds in curves.values() for curve in seeds]
    metric = every[0].metric
    with drawing(name, width, height) as figure:
        loss, validation = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        figure.subplots_adjust(
            left=46 / width, right=1 - 8 / width, top=1 - 22 / height, bottom=42 / height, hspace=0.24
        )
        for other, seeds in curves.items():
            if other != label:
                for curve in seeds:
                    _smoothed(loss, curve, color=GHOST, linewidth=1.0)
                    _validations(validation, curve, metric.validation, color=GHOST, linewidth=1.0)
        for curve in curves[label]:
            _smoothed(loss, curve, color=color, linewidth=1.3)
            _validations(loss, curve, "val/loss", color=color, linewidth=1.0, linestyle=(0, (2, 2)), marker=".")
            _validations(validation, curve, metric.validation, color=color, linewidth=1.3, marker=".")
        loss.set_ylim(_limits(every, ("train/loss", "val/loss")))
        validation.set_ylim(_limits(every, (metric.validation,)))
        validation.set_xlim(0, 1.03 * max(1, *(curve.step for curve in every)))
        validation.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        validation.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        validation.yaxis.set_major_formatter(lambda value, _: metric.tick(value))
        validation.set_xlabel("optimiser step")
        for axes, title in ((loss, "loss"), (validation, f"validation {metric.name}")):
            axes.set_title(title, loc="left", fontsize=12, color=FAINT, pad=5)
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.grid(axis="y")
        return as_svg(figure, name, _in_words(label, curves[label]))


def _smoothed(axes: Axes, curves: Curves, **looks: object) -> None:
    if (points := curves.points("train/loss")) is not None:
        values, _ = smooth(points[1])
        shown = decimate(values, BUCKETS)
        axes.plot(points[0][shown], values[shown], **looks)  # type: ignore[arg-type]


def _validations(axes: Axes, curves: Curves, name: str, **looks: object) -> None:
    if (points := curves.points(name)) is not None:
        # A single validation has no line, so it is drawn as a point.
        if len(points[0]) == 1:
            looks = {**looks, "marker": "."}
        shown = decimate(points[1], BUCKETS)
        axes.plot(points[0][shown], points[1][shown], markersize=5, **looks)  # type: ignore[arg-type]


def _limits(curves: Iterable[Curves], names: Sequence[str]) -> Limits:
    found = [points for curve in curves for name in names if (points := curve.points(name)) is not None]
    if not found:
        return 0.0, 1.0
    values = np.concatenate([smooth(values)[0] if "train" in names[0] else values for _, values in found])
    low, high = float(values.min()), float(values.max())
    room = max(0.06 * (high - low), 0.01)
    return low - room, high + room


def _in_words(label: str, curves: Sequence[Curves]) -> str:
    seeds = "1 seed" if len(curves) == 1 else f"{len(curves)} seeds"
    metric = curves[0].metric
    best = [
        metric.best(points[1].tolist()) for curve in curves if (points := curve.points(metric.validation)) is not None
    ]
    text = f"Learning curves of {label}, {seeds}"
    return f"{text}: validation {metric.name} peaked at {', '.join(map(metric.words, best))}." if best else text
