"""Places labels beside points so that none covers another label, a point or an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
# Where a label may stand: the unit vector from its point, and the label's alignment at the end of that vector.
PLACES = (
    (1.0, 0.0, "left", "center"),
    (-1.0, 0.0, "right", "center"),
    (0.8, 0.6, "left", "bottom"),
    (0.8, -0.6, "left", "top"),
    (-0.8, 0.6, "right", "bottom"),
    (-0.8, -0.6, "right", "top"),
    (0.0, 1.0, "center", "bottom"),
    (0.0, -1.0, "center", "top"),
)
DISTANCES = (10, 16, 24, 34, 46, 60, 76)
LEADER_FROM = 16


def place_labels(
    axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], taken: Sequence[Box], **looks: object
) -> None:
    """Writes a label as near to each point as there is room, with a thin line to the point if it is far.

    Args:
        axes: The axes, whose limits must not change afterwards.
        points: The points, in data coordinates.
        texts: Their labels.
        taken: Boxes to keep clear, in the figure's units: left, bottom, right, top.
        looks: Matplotlib's options for the text.
    """
    from peft_lightning.compare.report.plots.svg import FAINT

    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    shown = [tuple(axes.transData.transform(point)) for point in points]
    boxes = [*taken, *((x - 6, y - 6, x + 6, y + 6) for x, y in shown)]
    # Crowded points choose first, because they have the fewest free places.
    crowded = sorted(
        range(len(points)), key=lambda index: sum(_near(shown[index], other) for other in shown), reverse=True
    )
    for number in crowded:
        label = axes.annotate(texts[number], points[number], textcoords="offset points", xytext=(0, 0), **looks)  # type: ignore[arg-type]
        best: tuple[float, int, tuple[float, float, str, str]] | None = None
        for distance in DISTANCES:
            for place in PLACES:
                label.set_position((place[0] * distance, place[1] * distance))
                label.set_horizontalalignment(place[2])  # type: ignore[arg-type]
                label.set_verticalalignment(place[3])  # type: ignore[arg-type]
                extent = label.get_window_extent(renderer)
                box = (extent.x0 - 2, extent.y0 - 1, extent.x1 + 2, extent.y1 + 1)
                outside = box[0] < frame.x0 or box[2] > frame.x1 + 8 or box[1] < frame.y0 or box[3] > frame.y1 + 8
                cost = sum(_overlap(box, other) for other in boxes) + 1e4 * outside
                if best is None or cost < best[0] - 1e-6:
                    best = (cost, distance, place)
            if best is not None and best[0] == 0:
                break
        assert best is not None
        _, distance, (x, y, horizontal, vertical) = best
        label.set_position((x * distance, y * distance))
        label.set_horizontalalignment(horizontal)  # type: ignore[arg-type]
        label.set_verticalalignment(vertical)  # type: ignore[arg-type]
        extent = label.get_window_extent(renderer)
        boxes.append((extent.x0 - 2, extent.y0 - 1, extent.x1 + 2, extent.y1 + 1))
        if distance > LEADER_FROM:
            axes.annotate(
                "",
                points[number],
                textcoords="offset points",
                xytext=(x * distance, y * distance),
                arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 6},
            )


def _near(point: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(np.exp(-np.hypot(point[0] - other[0], point[1] - other[1]) / 40))


def _overlap(box: Box, other: Box) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
