"""Metrics that are no means of scores: intervals and tests from their pseudo-values."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from peft_lightning.compare.statistics import Interval, compare_methods, measure_methods
from peft_lightning.compare.statistics.components import Components
from peft_lightning.task import Regression, SingleLabel

CLASSES, NUMBERS = SingleLabel(("no", "yes")), Regression()
SHARE, CORRELATION = Interval(0.0, 1.0), Interval(-1.0, 1.0)
Answers = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def answers(methods: int = 2, seeds: int = 3, rows: int = 400, gain: float = 0.0, spread: float = 0.2) -> Answers:
    """Classes, and probabilities of shape (methods, seeds, rows, 2); the first method has some gain."""
    rng = np.random.default_rng(5)
    truth = (rng.random(rows) < 0.3).astype(np.int64)
    ease = rng.standard_normal(rows) + 0.5 * rng.standard_normal((methods, seeds, rows))
    ease += (1.0 + spread * rng.standard_normal((methods, seeds, 1))) * (2 * truth - 1) * 1.2
    ease[0] += gain * (2 * truth - 1)
    yes = 1 / (1 + np.exp(-2 * ease))
    return truth, np.stack([1 - yes, yes], axis=-1)


def of_metric(key: str, drawn: Answers) -> dict[str, npt.NDArray[np.float64]]:
    truth, probabilities = drawn
    return {
        name: np.stack([CLASSES.pseudo_values(key, seed, truth) for seed in seeds])
        for name, seeds in zip("abcdefgh", probabilities, strict=False)
    }


@pytest.mark.parametrize(
    "key", ["mcc", *(pytest.param(key, marks=pytest.mark.slow) for key in ("f1", "pr_auc", "auroc"))]
)
def test_the_error_of_a_difference_is_that_of_a_long_bootstrap_over_examples(key: str) -> None:
    """Of trained models, one seed each: examples are drawn once for both, so that the pairing is kept."""
    truth, probabilities = answers(seeds=1)
    ends = CORRELATION if key == "mcc" else SHARE
    (pair,) = compare_methods(of_metric(key, (truth, probabilities)), plan=False, ends=ends).differences
    rng, drawn = np.random.default_rng(0), []
    for _ in range(600):
        rows = rng.integers(len(truth), size=len(truth))
        a, b = (CLASSES.pseudo_values(key, of[0][rows], truth[rows]).mean() for of in probabilities)
        drawn.append(a - b)
    # Three standard errors of a standard deviation of 600: 9 %.
    assert pair.standard_error == pytest.approx(np.std(drawn), rel=0.09)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (pair.interval.low, pair.interval.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_an_interval_is_that_of_a_long_bootstrap_over_examples() -> None:
    truth, probabilities = answers(methods=1, seeds=1)
    (method,) = measure_methods(of_metric("mcc", (truth, probabilities)), CORRELATION)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(800):
        rows = rng.integers(len(truth), size=len(truth))
        drawn.append(CLASSES.pseudo_values("mcc", probabilities[0, 0][rows], truth[rows]).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (method.interval.low, method.interval.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert method.interval == method.sample_interval


def test_the_spread_over_seeds_widens_the_interval_and_the_value_is_their_mean() -> None:
    scores = of_metric("f1", answers(seeds=5, spread=0.4))
    several = compare_methods(scores, plan=False, ends=SHARE)
    single = compare_methods({name: of[:1] for name, of in scores.items()}, plan=False, ends=SHARE)
    assert several.differences[0].standard_error > 0
    assert not single.seeds_measured
    for method, of in zip(several.methods, scores.values(), strict=True):
        assert method.mean == pytest.approx(of.mean())
        assert method.seed_sd == pytest.approx(of.mean(axis=1).std(ddof=1))
        inner = method.sample_interval
        assert method.interval.low < inner.low < method.mean < inner.high < method.interval.high


@pytest.mark.parametrize("key", ["f1", "mcc", "auroc", "balanced_acc"])
def test_equal_predictions_are_no_difference(key: str) -> None:
    scores = of_metric(key, answers(methods=1))["a"]
    (pair,) = compare_methods({"a": scores, "b": scores}, ends=CORRELATION).differences
    assert (pair.difference, pair.p_value, pair.told_apart) == (0, 1, False)
    assert (pair.reviews_needed, pair.seeds_needed) == (None, None)


def test_a_better_method_is_told_apart_in_either_order() -> None:
    scores = of_metric("mcc", answers(gain=0.7, spread=0.05))
    (pair,) = compare_methods(scores, ends=CORRELATION).differences
    (turned,) = compare_methods(dict(reversed(scores.items())), ends=CORRELATION).differences
    assert pair.told_apart
    assert pair.interval.low > 0
    assert (turned.difference, turned.p_value) == pytest.approx((-pair.difference, pair.p_value))


def test_a_small_difference_says_how_many_reviews_and_seeds_would_show_it() -> None:
    (pair,) = compare_methods(of_metric("f1", answers(gain=0.1, spread=0.05)), ends=SHARE).differences
    assert not pair.told_apart
    assert pair.reviews_needed is not None
    assert pair.reviews_needed > 400


def test_lower_is_better_is_a_sign_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal(300)
    found = {name: truth + size * rng.standard_normal((3, 300)) for name, size in (("good", 0.5), ("bad", 0.8))}
    errors = {
        name: -np.stack([NUMBERS.pseudo_values("rmse", seed, truth) for seed in seeds]) for name, seeds in found.items()
    }
    (pair,) = compare_methods(errors, plan=False, ends=Interval(-math.inf, 0.0)).differences
    assert pair.told_apart
    assert pair.difference > 0
    (good, bad) = measure_methods(errors, Interval(-math.inf, 0.0))
    assert -good.mean == pytest.approx(0.5, abs=0.03)
    assert -good.interval.high < 0.5 < -good.interval.low
    assert bad.interval.high < good.interval.low < 0


def test_right_and_wrong_stay_scores_whatever_the_metric_is() -> None:
    right = np.random.default_rng(2).random((3, 200)) < 0.9
    scores = {"a": right, "b": np.roll(right, 1)}
    assert compare_methods(scores, ends=SHARE) == compare_methods(scores)


def test_few_examples_that_decide_a_difference_are_few_degrees_of_freedom() -> None:
    """Four examples all one way, of 300: a sign test has p = 0.125, the normal approximation p = 0.046."""
    scores = np.zeros((2, 1, 300))
    scores[0, 0, :4] = 1.0
    one = Components.of({"a": scores[0], "b": scores[1]}, pseudo=True)
    assert one.df_of_reviews(np.array([0]), np.array([1])) == pytest.approx(8, abs=0.5)
    (pair,) = compare_methods({"a": scores[0], "b": scores[1]}, plan=False, ends=SHARE).differences
    assert 0.07 < pair.p_value < 0.125
    normal = np.random.default_rng(3).standard_normal((2, 1, 3000))
    many = Components.of(dict(zip("ab", normal, strict=True)), pseudo=True)
    assert many.df_of_reviews(np.array([0]), np.array([1])) == pytest.approx(2999, rel=0.1)
