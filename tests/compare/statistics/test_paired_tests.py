import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from peft_lightning.compare.statistics import Statistics, compare_methods, measure_methods
from tests.compare.statistics.simulated import ACCURACY, REVIEWS, simulated


def figures(statistics: Statistics) -> list[float]:
    """Every number in the result."""

    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for each in value.values() for number in numbers(each)]
        if isinstance(value, list | tuple):
            return [number for each in value for number in numbers(each)]
        return [float(value)] if isinstance(value, int | float) else []

    return numbers(dataclasses.asdict(statistics))


@pytest.mark.parametrize(("seeds", "widest"), [(1, 0.005), (3, 0.03)])
def test_identical_predictions_are_no_difference(seeds: int, widest: float) -> None:
    right = simulated([ACCURACY])["a"][:seeds]
    result = compare_methods({"lora": right, "qlora": right})
    (pair,) = result.differences
    assert (pair.difference, pair.p_value, pair.corrected_p_value, pair.told_apart) == (0, 1, 1, False)
    assert (pair.reviews_needed, pair.seeds_needed) == (None, None)
    # Never certain that no new review and no new seed would tell them apart; nor at a loss.
    assert -widest < pair.interval.low < 0 < pair.interval.high < widest
    assert all(map(math.isfinite, figures(result)))


def test_seeds_that_disagree_and_are_as_accurate_leave_identical_methods_an_interval() -> None:
    """The seeds' spread is then estimated as 0 from figures that are not: their uncertainty is no reason to give up."""
    right = np.stack([np.roll(np.arange(REVIEWS) < count, 70 * count) for count in (1770, 1775, 1780)])
    (pair,) = compare_methods({"a": right, "b": right}).differences
    assert pair.p_value == 1
    assert -0.005 < pair.interval.low < 0 < pair.interval.high < 0.005


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("seeds", [1, 3])
def test_all_right_or_all_wrong_is_no_certainty(value: int, seeds: int) -> None:
    result = compare_methods({name: np.full((seeds, 300), value) for name in "abc"})
    assert all(map(math.isfinite, figures(result)))
    assert [pair.p_value for pair in result.differences] == [1, 1, 1]
    for method in result.methods:
        assert method.mean == value
        assert 0 <= method.interval.low < method.interval.high <= 1
        # Three in three hundred: the rule of three (Hanley and Lippman-Hand 1983) gives 1 %, this interval up to 2.
        assert 0.01 <= method.interval.high - method.interval.low <= 0.02


def test_one_seed_agrees_with_the_exact_test_of_the_reviews() -> None:
    """McNemar's exact test of the reviews that only one of them gets right."""
    rng = np.random.default_rng(0)
    first = rng.random((1, REVIEWS)) < ACCURACY
    for won, lost in ((60, 90), (70, 80), (50, 100)):
        second = first.copy()
        second[0, np.flatnonzero(first[0])[:lost]] = False
        second[0, np.flatnonzero(~first[0])[:won]] = True
        (pair,) = compare_methods({"a": first, "b": second}).differences
        assert pair.difference == pytest.approx((lost - won) / REVIEWS)
        exact = stats.binomtest(won, won + lost).pvalue
        assert pair.p_value == pytest.approx(exact, rel=0.25)


def test_one_seed_is_about_the_trained_models() -> None:
    result = compare_methods(simulated([ACCURACY, ACCURACY], seeds=1))
    assert not result.seeds_measured
    for method in result.methods:
        assert method.interval == method.sample_interval
        assert (method.seed_sd, method.seed_interval) == (None, None)
    assert result.differences[0].seeds_needed is None


def test_a_method_that_lost_its_other_seeds_is_not_surer_for_it() -> None:
    complete = simulated([ACCURACY] * 4)
    partial = complete | {"a": complete["a"][:1]}
    before, after = compare_methods(complete), compare_methods(partial)
    assert after.methods[0].seeds == 1
    assert after.methods[0].seed_interval is None
    assert after.differences[0].standard_error > before.differences[0].standard_error
    assert all(map(math.isfinite, figures(after)[:5]))


def test_spread_over_seeds_widens_every_interval() -> None:
    """Two methods whose seeds lie far apart are not told apart, however sure each trained model is."""
    right = np.arange(REVIEWS)[None] < np.array([1700, 1800, 1900])[:, None]
    other = np.arange(REVIEWS)[None] < np.array([1660, 1760, 1860])[:, None]
    result = compare_methods({"a": right, "b": other})
    for method in result.methods:
        assert method.interval.low < method.sample_interval.low
        assert method.interval.high > method.sample_interval.high
    assert not result.differences[0].told_apart
    # And no number of reviews would: only seeds.
    assert result.differences[0].reviews_needed is None
    assert result.differences[0].seeds_needed is not None


def test_order_of_methods_does_not_matter() -> None:
    right = simulated([ACCURACY + 0.01, ACCURACY])
    (forwards,), (backwards,) = (
        compare_methods({name: right[name] for name in names}).differences for names in ("ab", "ba")
    )
    assert forwards.difference == -backwards.difference
    assert forwards.p_value == pytest.approx(backwards.p_value)
    assert (forwards.interval.low, forwards.interval.high) == pytest.approx(
        (-backwards.interval.high, -backwards.interval.low)
    )
    assert (forwards.reviews_needed, forwards.seeds_needed) == (backwards.reviews_needed, backwards.seeds_needed)


def test_two_methods_need_no_correction_and_four_do() -> None:
    right = simulated([ACCURACY] * 4)
    four = compare_methods(right)
    (two,) = compare_methods({"a": right["a"], "b": right["b"]}).differences
    assert two.corrected_p_value == two.p_value
    assert [(pair.first, pair.second) for pair in four.differences] == [
        *map(tuple, ("ab", "ac", "ad", "bc", "bd", "cd"))
    ]
    assert all(pair.corrected_p_value >= pair.p_value for pair in four.differences)
    assert four.differences[0].difference == two.difference


def test_a_real_difference_needs_no_plan() -> None:
    (pair,) = compare_methods(simulated([ACCURACY + 0.05, ACCURACY], sd=0.002)).differences
    assert pair.told_apart
    assert pair.interval.low > 0
    assert (pair.reviews_needed, pair.seeds_needed) == (None, None)


def test_planned_reviews_are_more_than_there_are() -> None:
    (pair,) = compare_methods(simulated([ACCURACY + 0.01, ACCURACY], seeds=1, rng=1)).differences
    assert not pair.told_apart
    assert pair.reviews_needed is not None
    assert pair.reviews_needed > REVIEWS
    # Of the size that the normal distribution gives: (1.96 + 0.84)² of the variance of a review, over the difference².
    variance = REVIEWS * (pair.standard_error / pair.difference) ** 2
    assert pair.reviews_needed == pytest.approx(7.85 * variance, rel=0.05)


def test_result_is_plain_json() -> None:
    result = dataclasses.asdict(compare_methods(simulated([ACCURACY + 0.02, ACCURACY, ACCURACY])))
    assert json.loads(json.dumps(result, allow_nan=False))["methods"][0]["method"] == "a"


@pytest.mark.parametrize(
    ("correct", "message"),
    [
        ({}, "at least two methods, not 0"),
        ({"a": np.ones((3, 10))}, "at least two methods, not 1"),
        ({"a": np.ones((3, 10)), "b": np.ones((3, 11))}, "b was tested on 11 reviews and a on 10"),
        ({"a": np.ones((3, 10)), "b": np.ones(10)}, r"b: correctness has shape \(10,\)"),
        ({"a": np.ones((0, 10)), "b": np.ones((3, 10))}, r"a: correctness has shape \(0, 10\)"),
        ({"a": np.ones((3, 1)), "b": np.ones((3, 1))}, r"a: correctness has shape \(3, 1\)"),
        ({"a": np.full((3, 10), 2), "b": np.ones((3, 10))}, "a: correctness holds values other than"),
        ({"a": np.full((3, 10), np.nan), "b": np.ones((3, 10))}, "a: correctness holds values other than"),
    ],
)
def test_wrong_input_ends_in_one_line(correct: Mapping[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        compare_methods(correct)
    assert "\n" not in str(raised.value)


def test_scipy_is_loaded_only_when_used() -> None:
    code = "import sys, peft_lightning.compare.statistics; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_scores_that_are_floats_are_compared_too() -> None:
    """Errors of two methods that differ by a tenth of what reviews differ by."""
    rng = np.random.default_rng(0)
    hard = rng.standard_normal(REVIEWS)
    scores = {
        name: shift - np.abs(hard + 0.3 * rng.standard_normal((3, REVIEWS)) + 0.02 * rng.standard_normal((3, 1)))
        for name, shift in (("a", 0.0), ("b", 0.1), ("c", 0.0))
    }
    result = compare_methods(scores)
    assert [method.mean for method in result.methods] == pytest.approx([values.mean() for values in scores.values()])
    (ab, ac, bc) = result.differences
    assert (ab.told_apart, ac.told_apart, bc.told_apart) == (True, False, True)
    assert ab.interval.low < -0.1 < ab.interval.high < 0
    assert ac.reviews_needed is not None
    assert ac.reviews_needed > REVIEWS
    # Nothing is imagined or cut off: with one seed a pair is Student's test of the paired scores, wherever they lie.
    one_seed = {name: 100 * values[:1] for name, values in scores.items() if name != "b"}
    (pair,) = compare_methods(one_seed).differences
    student = stats.ttest_rel(one_seed["a"][0], one_seed["c"][0])
    assert pair.p_value == pytest.approx(student.pvalue)
    assert (pair.interval.low, pair.interval.high) == pytest.approx(tuple(student.confidence_interval()))
    (alone,) = measure_methods({"a": one_seed["a"]})
    assert alone.mean == pytest.approx((alone.interval.low + alone.interval.high) / 2)
    assert alone.interval.high < 0


def test_floats_that_do_not_vary_have_a_test_too() -> None:
    same = np.full((2, 10), 0.5)
    (equal,) = compare_methods({"a": same, "b": same}).differences
    assert (equal.difference, equal.p_value, equal.told_apart) == (0.0, 1.0, False)
    (apart,) = compare_methods({"a": same, "b": same + 0.25}).differences
    assert apart.told_apart
    assert (apart.interval.low, apart.interval.high) == pytest.approx((-0.25, -0.25))


def test_ones_and_zeros_in_floats_are_right_and_wrong() -> None:
    correct = simulated([0.88, 0.9])
    assert compare_methods({name: right.astype(float) for name, right in correct.items()}) == compare_methods(correct)
