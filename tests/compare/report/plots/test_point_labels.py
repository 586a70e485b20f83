import itertools

import pytest

from peft_lightning.compare.report.plots.point_labels import place_labels
from peft_lightning.compare.report.plots.svg import drawing

POINTS = {
    "spread out": [(1.0, 0.1), (5.0, 0.5), (9.0, 0.9)],
    "close together": [
        (5.0, 0.5),
        (5.05, 0.5),
        (5.1, 0.505),
        (5.0, 0.51),
        (5.1, 0.49),
        (5.2, 0.5),
        (4.9, 0.5),
        (5, 0.48),
    ],
    "in the corners": [(0.0, 0.0), (10.0, 1.0), (0.0, 1.0), (10.0, 0.0)],
}


@pytest.mark.parametrize("name", POINTS)
def test_no_label_covers_another_or_leaves_the_frame(name: str) -> None:
    points = POINTS[name]
    with drawing("labels", 480, 360) as figure:
        figure.subplots_adjust(left=0.13, right=0.97, top=0.97, bottom=0.12)
        axes = figure.add_subplot()
        axes.set_xlim(0, 10)
        axes.set_ylim(0, 1)
        place_labels(axes, points, [f"recipe-{number}" for number in range(len(points))], [])
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
        assert len(boxes) == len(points)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 480 and box.y1 <= 360 for box in boxes)
