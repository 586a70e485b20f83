"""Intervals of correlations of numbers: published values, the ends, and simulated coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from peft_lightning.compare.statistics import Correlation, Interval, measure_methods
from peft_lightning.compare.statistics.t_distribution import half_of_interval
from peft_lightning.task import Regression

NUMBERS, RANKS = Correlation(), Correlation(ranks=True)
Floats = npt.NDArray[np.floating[Any]]


def measured(key: str, answers: Floats, labels: Floats) -> Interval:
    """The interval of one trained model's correlation on other rows."""
    ends = Correlation(ranks=key == "spearman")
    (method,) = measure_methods({"a": Regression().pseudo_values(key, answers, labels)[None]}, ends)
    return method.sample_interval


def ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def test_with_fisher_s_error_the_interval_is_the_published_one() -> None:
    # Zar 2010, "Biostatistical analysis", example 19.1: wings and tails of 12 birds, r 0.870, from 0.592 to 0.963.
    half = half_of_interval((1 - 0.870**2) / math.sqrt(12 - 3), math.inf)
    assert ends(NUMBERS.interval(0.870, half, 12)) == pytest.approx((0.592, 0.963), abs=1e-3)
    assert ends(NUMBERS.interval(-0.870, half, 12)) == pytest.approx((-0.963, -0.592), abs=1e-3)


def test_correlations_near_an_end_have_intervals_of_their_own() -> None:
    rng = np.random.default_rng(4)
    labels, errors = rng.standard_normal((2, 30))
    errors -= labels * (errors @ labels) / (labels @ labels)
    for key in ("pearson", "spearman"):
        near, nearer = (measured(key, labels + size * errors, labels) for size in (0.36, 0.25))
        assert nearer.low > near.low + 0.01
        assert nearer.high > near.high
        assert 0.8 < near.low < near.high < 0.99


def test_perfect_ranks_are_less_certain_the_fewer_they_are() -> None:
    # Half a swap of two neighbours below 1, with Bonett and Wright's error: tanh(artanh 0.99394 - 1.96 · 0.4619).
    for rows, low in ((10, 0.9635), (30, 0.99944)):
        found = measured("spearman", np.arange(rows) ** 3.0, np.arange(rows) * 1.0)
        assert ends(found) == pytest.approx((low, 1.0), abs=1e-4)
        opposite = measured("spearman", -np.arange(rows) * 1.0, np.arange(rows) * 1.0)
        assert ends(opposite) == pytest.approx((-1.0, -low), abs=1e-4)


def test_perfect_numbers_are_perfect_to_their_rounding() -> None:
    found = measured("pearson", np.arange(10.0), np.arange(10.0))
    assert 1 - 1e-5 < found.low < found.high == 1


@pytest.mark.parametrize("key", ["pearson", "spearman"])
def test_two_or_three_rows_say_nothing(key: str) -> None:
    for rows in (2, 3):
        assert ends(measured(key, np.arange(rows) * 1.0, np.arange(rows) ** 2.0)) == (-1, 1)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.99999999, 0.3])
@pytest.mark.parametrize("half", [0.0, 0.4, 1e9])
def test_no_interval_passes_an_end_or_lacks_its_value(value: float, half: float) -> None:
    for kind in (NUMBERS, RANKS):
        found = kind.interval(value, half, 20)
        assert -1 <= found.low <= value <= found.high <= 1


def normal(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    return rng.standard_normal(rows), rng.standard_normal(rows)


def with_heavy_tails(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    return rng.standard_t(5, rows) / math.sqrt(5 / 3), rng.standard_t(5, rows) / math.sqrt(5 / 3)


def of_five_values(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    return (rng.integers(1, 6, rows) - 3) / math.sqrt(2), rng.standard_normal(rows)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, with_heavy_tails, of_five_values])
@pytest.mark.parametrize(("key", "rows"), [("pearson", 30), ("pearson", 100), ("spearman", 30), ("spearman", 400)])
def test_intervals_near_an_end_hold_the_correlation_as_often_as_they_say(
    key: str, rows: int, draw: Callable[[np.random.Generator, int], tuple[Floats, Floats]]
) -> None:
    def drawn(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        labels, errors = draw(rng, count)
        return 0.97 * labels + math.sqrt(1 - 0.97**2) * errors, labels

    true = Regression().pseudo_values(key, *drawn(np.random.default_rng(0), 1_000_000)).mean()
    rng, held = np.random.default_rng(1), []
    for _ in range(800):
        found = measured(key, *drawn(rng, rows))
        held.append(found.low <= true <= found.high)
    assert 0.92 < np.mean(held) < 0.99
