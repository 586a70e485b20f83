"""The dashboard's picture: a run's curves, drawn as one PNG.

Nothing here uses pyplot or chooses a backend: the figure is drawn by Agg, which needs no display.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from peft_lightning.runs.curves import Curves, Points, decimate, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Up to this many validations get markers; more markers would overlap.
MARKED = 60
INK, FAINT = "#1f2328", "#6e7781"
TRAIN, VALIDATION, RATE, PEAK, HELD = "#0b62c4", "#d1570c", "#3d7a36", "#8a3ffc", "#b79ce8"
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a run's name may have dollar signs in it
    "axes.edgecolor": "#d0d7de",
    "axes.labelcolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "grid.color": "#e4e8ec",
    "legend.frameon": False,
}


def render(curves: Curves, title: str, status: str, capacity_gib: float | None = None) -> bytes:
    """Draws the dashboard.

    Args:
        curves: What to draw.
        title: Name of the run.
        status: Progress of the run.
        capacity_gib: The GPU's memory in GiB; None leaves the memory panel out.

    Returns:
        A PNG.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    # The user's own style could ask for LaTeX or white ink; it is restored afterwards.
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(12, 6.6), dpi=100)
        panels = ["metric", "rate"] if capacity_gib is None else ["metric", "rate", "memory"]
        axes = figure.subplot_mosaic([["loss", panel] for panel in panels], width_ratios=[1.5, 1])
        figure.subplots_adjust(left=0.06, right=0.965, bottom=0.085, top=0.85, wspace=0.2, hspace=0.3)
        figure.text(0.025, 0.945, title, fontsize=15, fontweight="bold")
        figure.text(0.965, 0.945, status, fontsize=11, color=FAINT, ha="right")
        _draw_loss(axes["loss"], curves)
        _draw_metric(axes["metric"], curves)
        _draw_rate(axes["rate"], curves)
        if capacity_gib is not None:
            _draw_memory(axes["memory"], curves, capacity_gib)
        _finish(axes, curves.step, [axes["loss"], axes[panels[-1]]])
        return _png(figure)


def _draw_loss(axes: Axes, curves: Curves) -> None:
    axes.set_title("loss")
    points = curves.points("train/loss")
    if points is not None:
        steps, values = points
        smoothed, window = smooth(values)
        if window > 1:
            _line(axes, steps, values, color=TRAIN, alpha=0.25, linewidth=0.8)
        label = f"train, mean of {window} points" if window > 1 else "train"
        _line(axes, steps, smoothed, color=TRAIN, linewidth=1.8, label=label)
    _draw_validation(axes, curves.points("val/loss"), "validation")


def _draw_metric(axes: Axes, curves: Curves) -> None:
    from matplotlib.ticker import PercentFormatter

    metric = curves.metric
    points = curves.points(metric.validation)
    axes.set_title(f"validation {metric.name}")
    if metric.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    if points is not None:
        steps, values = points
        best = metric.place_of_best(values)
        axes.set_title(f"validation {metric.name}: best {metric.words(values[best])} at step {int(steps[best]):,}")
        # Limits stop at the metric's range, such as 100 %. Without clipping, a line at the very end has its full width.
        _draw_validation(axes, points, None, clip_on=False)
        low, high = axes.get_ylim()
        axes.set_ylim(max(metric.lowest, low), min(metric.highest, high))


def _draw_rate(axes: Axes, curves: Curves) -> None:
    axes.set_title("learning rate")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if (points := curves.points("train/learning_rate")) is not None:
        _line(axes, *points, color=RATE, linewidth=1.8)
        axes.set_ylim(bottom=0)


def _draw_memory(axes: Axes, curves: Curves, capacity_gib: float) -> None:
    axes.set_title(f"GPU memory, GiB of {capacity_gib:.1f}")
    for name, color, label in (("memory/peak", PEAK, "peak"), ("memory/allocated", HELD, "between steps")):
        if (points := curves.points(name)) is not None:
            _line(axes, *points, color=color, linewidth=1.8, label=label)
            axes.set_ylim(bottom=0)


def _draw_validation(axes: Axes, points: Points | None, label: str | None, **looks: Any) -> None:
    if points is not None:
        marker = "o" if len(points[0]) <= MARKED else ""
        _line(axes, *points, color=VALIDATION, linewidth=1.4, marker=marker, markersize=5, label=label, **looks)


def _line(
    axes: Axes, steps: np.ndarray[Any, Any], values: np.ndarray[Any, Any], marker: str = "", **looks: Any
) -> None:
    shown = decimate(values)
    # A line of one point would be invisible without a marker.
    axes.plot(steps[shown], values[shown], marker=marker or ("o" if len(values) == 1 else ""), **looks)


def _finish(axes: dict[str, Axes], step: int, lowest: list[Axes]) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    for panel in axes.values():
        panel.grid(axis="y")
        panel.set_axisbelow(True)
        panel.tick_params(length=0)
        panel.set_xlim(0, max(1, step) * 1.02)
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.yaxis.set_major_locator(MaxNLocator(8 if panel is axes["loss"] else 4))
        if panel in lowest:
            panel.set_xlabel("optimiser step")
        else:
            panel.tick_params(labelbottom=False)
        if not panel.lines:
            panel.set_yticks([])
            panel.text(0.5, 0.5, "nothing measured yet", transform=panel.transAxes, ha="center", color=FAINT)
        elif len(panel.get_legend_handles_labels()[1]) > 0:
            panel.legend(loc="best", fontsize=9)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
