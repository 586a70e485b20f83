"""Pictures of numbers: each point is counted once, in the shade of its cell."""

import re

import numpy as np

from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.number_panels import CELLS, MOST_POINTS, SHADES, draw_numbers, shaded_cells

LIMITS = (0.0, 28.0)


def test_a_cell_is_the_darker_the_more_points_it_has() -> None:
    truth = np.array([0.5] * 1 + [3.5] * 99 + [27.5] * 9)
    answered = np.array([2.5] * 1 + [5.5] * 99 + [27.5] * 9)
    shades = shaded_cells(truth, answered, LIMITS)
    assert CELLS == 28
    assert [corners.tolist() for corners in shades] == [[[0.0, 2.0]], [], [[27.0, 27.0]], [], [[3.0, 5.0]]]
    # log 2, log 10 and log 100, in fifths of log 100.
    assert np.ceil(np.log1p([1, 9, 99]) / np.log(100) * len(SHADES)).tolist() == [1, 3, 5]


def test_no_point_is_left_out() -> None:
    rng = np.random.default_rng(4)
    truth, answered = rng.uniform(0, 28, (2, 2000))
    cells = sum(len(corners) for corners in shaded_cells(truth, answered, LIMITS))
    assert cells == len(np.unique(np.stack([truth // 1, answered // 1]), axis=1).T)


def test_many_answers_are_squares_of_a_few_shades_and_few_are_points() -> None:
    leader = Leader("lora", 1, ())
    labels = np.linspace(1, 27, MOST_POINTS)
    answers = np.stack([labels, labels + np.where(np.arange(MOST_POINTS) == 7, 3.0, 0.0)])
    ids = np.arange(MOST_POINTS) * 10
    many = draw_numbers("numbers-0-0", leader, labels, answers, ids, LIMITS)
    few = draw_numbers("numbers-0-0", leader, labels[:50], answers[:, :50], ids[:50], LIMITS)
    assert len(many) < 12_000
    assert many.count("var(--series-2)") <= len(SHADES) + 1
    assert len(re.findall("<use", few)) > 100
    for svg, mean in ((many, 3 / (2 * MOST_POINTS)), (few, 3 / 100)):
        # The label is on the text that is farthest off, in the mean of the seeds.
        assert f"<title>row 70: {labels[7] + 1.5:.4g} for {labels[7]:.4g}</title>" in svg
        assert f"mean absolute error {mean:.3g}, mean error {mean:+.3g}" in svg
