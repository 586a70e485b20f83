from pathlib import Path

import numpy as np

from peft_lightning.compare.report.plots.curve_overview import draw_overview, mean_curve
from peft_lightning.runs.curves import Curves
from peft_lightning.task import FIRST
from tests.compare.report.plots.test_learning_curves import curves


def test_a_recipe_s_line_is_the_mean_of_its_seeds_at_the_steps_they_share() -> None:
    steps, values = mean_curve(
        [(np.array([10, 20, 30]), np.array([1.0, 2.0, 3.0])), (np.array([20, 30, 40]), np.array([4.0, 5.0, 6.0]))]
    )
    assert steps.tolist() == [20, 30]
    assert values.tolist() == [3.0, 4.0]


def test_seeds_without_a_shared_step_show_the_longest() -> None:
    long, short = (np.array([1, 2]), np.array([0.1, 0.2])), (np.array([3]), np.array([0.3]))
    assert mean_curve([short, long]) is long


def test_few_are_in_colour_the_others_in_grey_and_each_has_its_name() -> None:
    found = {f"recipe-{number}": [curves(0.7, 0.8), curves(0.72, 0.84)] for number in range(10)}
    svg = draw_overview(found, ["recipe-7", "recipe-2"])
    assert svg.count("stroke: var(--series-1)") == svg.count("stroke: var(--series-2)") == 2
    assert svg.count("stroke: var(--ghost)") == 2 * 8
    assert all(svg.count(f"<title>{label}</title>") == 2 for label in found)


def test_a_run_that_has_only_begun_has_no_validation_and_is_drawn() -> None:
    begun = Curves(Path("nowhere"), FIRST.headline)
    begun.add("train/loss", 5, 0.7)
    assert draw_overview({"lora": [begun]}, ["lora"]).startswith("<svg")
