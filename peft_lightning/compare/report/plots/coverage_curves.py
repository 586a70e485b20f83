"""Draws the headline metric of the surest answers against the share of texts that are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peft_lightning.compare.report.certainty import SHARES, Floats
from peft_lightning.compare.report.plots.svg import GHOST, as_svg, drawing, series
from peft_lightning.task import Metric

NAME, WIDTH, HEIGHT = "coverage", 640, 340


def draw_coverage(curves: Mapping[str, Floats], coloured: Mapping[str, int], metric: Metric) -> str:
    """Draws a line for each recipe; each has its name where it is pointed at.

    Args:
        curves: Values of the metric at ``SHARES``, by the recipe's label.
        coloured: The numbers of the colours of the recipes that are not grey.
        metric: The metric.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator

    titles: dict[str, str] = {}
    with drawing(NAME, WIDTH, HEIGHT) as figure:
        figure.subplots_adjust(left=64 / WIDTH, right=1 - 28 / WIDTH, top=1 - 12 / HEIGHT, bottom=52 / HEIGHT)
        axes = figure.add_subplot()
        # Grey lines first, so that none covers a coloured one.
        for label in sorted(curves, key=lambda label: label in coloured):
            mark = f"line-{list(curves).index(label)}"
            titles[mark] = f"{label}, {metric.words(float(curves[label][-1]))} of all texts"
            color, width = (series(coloured[label])[0], 1.8) if label in coloured else (GHOST, 1.1)
            axes.plot(SHARES, curves[label], color=color, linewidth=width, gid=mark)
        axes.set_xlim(0, 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: metric.tick(value))
        axes.tick_params(axis="x", pad=10)  # the lowest figure of the other axis may stand in the corner
        axes.set_xlabel("share of the texts that are answered, the surest ones")
        axes.set_ylabel(f"test {metric.name}")
        axes.grid(axis="y")
        return as_svg(figure, NAME, _in_words(curves, list(coloured), metric), titles)


def _in_words(curves: Mapping[str, Floats], labels: Sequence[str], metric: Metric) -> str:
    half = int((SHARES < 0.5).sum())
    shown = [
        f"{label} {metric.words(float(curves[label][-1]))} and {metric.words(float(curves[label][half]))}"
        for label in labels
        if label in curves
    ]
    return f"Test {metric.name} of {len(curves)} recipes, of all texts and of the surest half: {'; '.join(shown)}."
