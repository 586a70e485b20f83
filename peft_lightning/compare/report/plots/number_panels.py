"""Draws a recipe's answers against the labels, as points or, where there are many, as density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.svg import FAINT, INK, SURFACE, as_svg, drawing, series

if TYPE_CHECKING:
    from matplotlib.patches import PathPatch

Floats = npt.NDArray[np.float64]
# More points than this cover each other, and would make the page larger.
MOST_POINTS = 300
CELLS = 28
SHADES = (0.14, 0.3, 0.48, 0.68, 0.9)
# So many of the largest errors are circled and named where one points at them.
NAMED = 5


def draw_numbers(
    name: str, leader: Leader, labels: Floats, answers: Floats, ids: npt.NDArray[np.int64], limits: tuple[float, float]
) -> str:
    """Draws the answers of all seeds against the labels, with the line on which both are equal.

    Args:
        name: A word that is unique among the page's pictures.
        leader: The recipe.
        labels: The labels, shape (n,).
        answers: Its answers, shape (seeds, n).
        ids: The reviews' rows in the test split, shape (n,).
        limits: Of both axes, shared by all recipes.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator

    width, height = 256, 262
    color, _ = series(leader.number)
    truth, answered = np.tile(labels, len(answers)), answers.ravel()
    mean = answers.mean(axis=0)
    titles = {}
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=52 / width, right=1 - 10 / width, top=1 - 8 / height, bottom=44 / height)
        axes = figure.add_subplot()
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.plot(limits, limits, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        if len(truth) > MOST_POINTS:
            for alpha, corners in zip(SHADES, shaded_cells(truth, answered, limits), strict=True):
                if len(corners):
                    axes.add_patch(_squares(corners, (limits[1] - limits[0]) / CELLS, color, alpha))
        else:
            axes.plot(truth, answered, "o", color=color, markersize=4.5, markeredgewidth=0, alpha=0.6, zorder=2)
        for place in np.argsort(-np.abs(mean - labels), kind="stable")[:NAMED].tolist():
            gid = f"far-{place}"
            titles[gid] = f"row {ids[place]}: {mean[place]:.4g} for {labels[place]:.4g}"
            axes.plot(
                labels[place],
                mean[place],
                "o",
                gid=gid,
                markersize=8,
                markerfacecolor=SURFACE,
                markeredgecolor=INK,
                markeredgewidth=1.2,
                zorder=4,
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(lambda value, _: f"{round(value, 8):g}")
        axes.grid()
        axes.set_xlabel("label")
        axes.set_ylabel("answer")
        error, bias = float(np.abs(answered - truth).mean()), float((answered - truth).mean())
        far = "; ".join(titles.values())
        text = (
            f"Answers of {leader.label} against labels, {len(truth):,} points: mean absolute error {error:.3g}, mean"
            f" error {bias:+.3g}. The largest errors: {far}."
        )
        return as_svg(figure, name, text, titles)


def shaded_cells(truth: Floats, answered: Floats, limits: tuple[float, float]) -> list[Floats]:
    """Counts points in square cells, and groups the cells by how many they have.

    Args:
        truth: Labels, shape (n,).
        answered: Answers, shape (n,).
        limits: Of both axes.

    Returns:
        For each shade, from the lightest on, the lower left corners of its cells, shape (cells, 2). A shade holds cells
        of up to a fifth, two fifths, … of the logarithm of the fullest cell's count.
    """
    counts, edges, _ = np.histogram2d(truth, answered, bins=CELLS, range=(limits, limits))
    levels = np.log1p(counts) / np.log1p(max(1.0, counts.max()))
    shades = np.ceil(levels * len(SHADES)).astype(int)
    found = []
    for shade in range(1, len(SHADES) + 1):
        columns, rows = np.nonzero(shades == shade)
        found.append(np.stack([edges[columns], edges[rows]], axis=1))
    return found


def _squares(corners: Floats, size: float, color: str, alpha: float) -> PathPatch:
    """Returns all squares of one shade as one path, which is a tenth as long as a path for each."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    around = size * np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], dtype=np.float64)
    points = (corners[:, np.newaxis, :] + around).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(corners))
    return PathPatch(Path(points, codes), facecolor=color, alpha=alpha, linewidth=0, zorder=2)
