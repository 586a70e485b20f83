"""Draws the parts of each recipe's memory: weights, gradients, optimiser state, activations."""

from __future__ import annotations

from collections.abc import Sequence

from peft_lightning.compare.report.figure_words import gibibytes
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.plots.headline import LETTER
from peft_lightning.compare.report.plots.svg import INK, PARTS, SURFACE, as_svg, drawing
from peft_lightning.compare.report.study import MANY

ROW, ROW_OF_MANY = 40, 25
NAMES = ("weights", "gradients", "optimiser", "activations")


def parts(row: Figures) -> tuple[float | None, ...]:
    """Returns the parts of a recipe's memory in GiB, in the order of ``NAMES``."""
    return row.weights_gib, row.gradients_gib, row.optimizer_gib, row.activations_gib


def draw_memory(rows: Sequence[Figures]) -> str:
    """Draws the parts as stacked bars.

    Returns:
        The picture; empty if nothing was measured.
    """
    shown = [row for row in rows if row.weights_gib is not None]
    if not shown:
        return ""
    totals = [sum(part or 0.0 for part in parts(row)) for row in shown]
    # Below 0.25 GiB the axis is in MiB, so that it does not count in hundredths.
    unit, scale = ("GiB", 1.0) if max(totals) >= 0.25 else ("MiB", 1024.0)
    row_height = ROW_OF_MANY if len(rows) >= MANY else ROW
    name, width, height = "memory", 600, row_height * len(shown) + 46
    left = min(190.0, 22 + LETTER * max(len(row.label) for row in shown))
    with drawing(name, width, height) as figure:
        figure.subplots_adjust(left=left / width, right=1 - 92 / width, top=1 - 6 / height, bottom=40 / height)
        axes = figure.add_subplot()
        for place, (row, total) in enumerate(zip(shown, totals, strict=True)):
            start = 0.0
            for color, part in zip(PARTS, parts(row), strict=True):
                if part is not None and part > 0:
                    axes.barh(place, scale * part, 0.56, scale * start, color=color, edgecolor=SURFACE, linewidth=1)
                    start += part
            axes.text(scale * start + 0.012 * scale * max(totals), place, gibibytes(total), va="center", color=INK)
        axes.set_xlim(0, scale * max(totals))
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [row.label for row in shown], color=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(unit)
        return as_svg(figure, name, "Parts of the memory: " + "; ".join(map(_in_words, shown)) + ".")


def _in_words(row: Figures) -> str:
    sizes = [f"{name} {gibibytes(part)}" for name, part in zip(NAMES, parts(row), strict=True) if part is not None]
    return f"{row.label}: {', '.join(sizes)}"
