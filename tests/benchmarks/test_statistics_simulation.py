import json
import sys
from pathlib import Path

import numpy as np
import pytest

import statistics_simulation as simulation
from simulated_answers import Recipes
from statistics_simulation import CLASSES, KEYS, NUMBERS, Condition


@pytest.mark.parametrize("task", [CLASSES, NUMBERS])
def test_the_truth_is_what_very_many_texts_and_seeds_show(task: object) -> None:
    recipes = Recipes((0.8, 1.2), 40, 4000, 0.1, 0.2)
    rng = np.random.default_rng(0)
    draw, exact = (
        (recipes.classes, recipes.metrics_of_classes())
        if task is CLASSES
        else (recipes.numbers, recipes.metrics_of_numbers())
    )
    targets, answers = draw(rng)
    for key in KEYS[CLASSES if task is CLASSES else NUMBERS]:
        kind = CLASSES if task is CLASSES else NUMBERS
        for number, seeds in enumerate(answers):
            shown = np.mean([kind.pseudo_values(key, seed, targets).mean() for seed in seeds])
            # Forty seeds that spread by a tenth, and 4,000 texts.
            assert shown == pytest.approx(exact[key][number], abs=0.035), (key, number)


def test_a_part_of_it_is_written_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = [Condition(Recipes(strengths, 2, 60, 0.05, 0.4), 40) for strengths in ((1.0, 1.0), (0.5, 2.0))]
    monkeypatch.setattr(simulation, "CONDITIONS", conditions)
    monkeypatch.setattr(sys, "argv", ["statistics_simulation.py", "--out", str(tmp_path), "--share", "0.1"])
    assert simulation.main() == 0
    content = json.loads((tmp_path / "statistics_simulation.json").read_text())
    assert content["command"] == "python benchmarks/statistics_simulation.py --out DIR --share 0.1"
    equal, unequal = content["records"].values()
    assert equal["comparisons"] == unequal["comparisons"] == 4
    assert set(equal["metrics"]) == set(simulation.EVERY)
    assert unequal["metrics"]["acc"]["false"] == 0, "recipes that differ cannot be told apart falsely"
    table = (tmp_path / "statistics_simulation.md").read_text()
    assert table.count("any false difference") == 1
    assert table.count("intervals of recipes cover") == 2
    assert "2 unequal recipes, 2 seeds, 60 texts" in table


@pytest.mark.slow
def test_equal_recipes_are_seldom_told_apart_by_any_metric_and_intervals_cover() -> None:
    condition = Condition(Recipes((1.0,) * 4, 3, 400, 0.05, 0.3), 400)
    found = simulation.simulate(condition, 0)
    # Three standard errors of a rate of 5 % over 400 comparisons; pairs and recipes of one comparison are alike.
    error = 3 * (0.05 * 0.95 / 400) ** 0.5
    for key, shares in found.items():
        assert shares["false"] <= 0.05 + error, key
        assert 0.93 <= shares["pairs"] <= 0.98, key
        assert 0.92 <= shares["single"] <= 0.98, key
    # A test that takes the seeds for all there are finds more.
    assert np.mean([shares["alone"] for shares in found.values()]) > 2 * np.mean([s["false"] for s in found.values()])
