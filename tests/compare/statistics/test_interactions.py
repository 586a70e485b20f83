from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from peft_lightning.compare.statistics import changes_of_gaps, compare_methods, gaps_to
from peft_lightning.compare.statistics.interval import Interval
from tests.compare.statistics.simulated import Latent

Bools = npt.NDArray[np.bool_]


def drawn(
    rng: np.random.Generator, accuracies: Sequence[Sequence[float]], seed_sd: Sequence[float], reviews: int = 400
) -> dict[str, dict[str, Bools]]:
    """Scores at each value: accuracies by value and method, and how far seeds spread at each value."""
    flat = [accuracy for of_value in accuracies for accuracy in of_value]
    spread = [sd for sd, of_value in zip(seed_sd, accuracies, strict=True) for _ in of_value]
    answers = Latent(rng, 1, len(flat), 3, reviews).answers(flat, spread).correct[0]
    methods = len(accuracies[0])
    return {
        str(number): {f"m{method}": answers[number * methods + method] for method in range(methods)}
        for number in range(len(accuracies))
    }


def test_differences_at_a_value_are_those_of_its_own_comparison() -> None:
    scores = drawn(np.random.default_rng(0), [(0.7, 0.8, 0.75), (0.9, 0.9, 0.85)], (0.01, 0.005))
    gaps = gaps_to("m1", scores)
    assert [(gap.value, gap.method) for gap in gaps] == [("0", "m0"), ("0", "m2"), ("1", "m0"), ("1", "m2")]
    for value, methods in scores.items():
        pairs = {(pair.first, pair.second): pair for pair in compare_methods(methods).differences}
        own = {gap.method: gap for gap in gaps if gap.value == value}
        assert own["m0"].difference == pytest.approx(pairs["m0", "m1"].difference)
        assert own["m0"].interval.high == pytest.approx(pairs["m0", "m1"].interval.high)
        assert own["m2"].p_value == pytest.approx(pairs["m1", "m2"].p_value)
        assert own["m2"].corrected_p_value >= own["m2"].p_value


def test_pseudo_values_are_as_uncertain_as_in_a_comparison_of_their_own() -> None:
    # Few reviews decide: three quarters of the pseudo-values lie close together, and the rest far out.
    rng = np.random.default_rng(5)
    common = rng.standard_t(3, size=(1, 120))
    arrays = {name: 0.5 + 0.1 * common + 0.05 * rng.standard_t(3, size=(3, 120)) for name in ("a", "b")}
    (expected,) = compare_methods(arrays, ends=Interval(0.0, 1.0)).differences
    (found,) = gaps_to("b", {"1": arrays}, pseudo=True)
    assert found.p_value == pytest.approx(expected.p_value)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.interval.low, expected.interval.high))
    (score,) = gaps_to("b", {"1": arrays})
    assert score.interval.high - score.interval.low < found.interval.high - found.interval.low
    # Values with the same reviews, and the same answers: a change of exactly nothing, no surer than it is.
    for same in (True, False):
        (change,) = changes_of_gaps("b", {"1": arrays, "2": arrays}, same, pseudo=True)
        assert change.change == pytest.approx(0.0)
        assert not change.told_apart


def test_a_change_is_a_difference_of_differences_and_is_found() -> None:
    scores = drawn(np.random.default_rng(1), [(0.6, 0.8), (0.85, 0.88), (0.9, 0.9)], (0.01, 0.01, 0.005), 1000)
    gaps = {gap.value: gap.difference for gap in gaps_to("m1", scores)}
    changes = {(one.first, one.second): one for one in changes_of_gaps("m1", scores, same_reviews=True)}
    assert changes.keys() == {("0", "1"), ("0", "2"), ("1", "2")}
    for (first, second), change in changes.items():
        assert change.change == pytest.approx(gaps[second] - gaps[first])
        assert change.interval.low < change.change < change.interval.high
    assert changes["0", "2"].told_apart


def test_a_method_that_finds_the_same_texts_hard_at_every_value_is_paired_with_itself() -> None:
    rng = np.random.default_rng(4)
    ease = {name: rng.normal(size=(1, 600)) for name in ("a", "b")}
    scores = {
        value: {name: ease[name] + rng.normal(0, 0.3, (3, 600)) > -level for name in ease}
        for value, level in (("1", 1.0), ("2", 1.2))
    }
    (paired,), (apart,) = (changes_of_gaps("a", scores, same) for same in (True, False))
    assert paired.change == pytest.approx(apart.change)
    widths = [one.interval.high - one.interval.low for one in (paired, apart)]
    assert widths[0] < 0.7 * widths[1]


def test_what_was_not_tested_at_a_value_changes_nowhere_from_it() -> None:
    scores = drawn(np.random.default_rng(2), [(0.7, 0.8, 0.8), (0.9, 0.9, 0.9), (0.9, 0.9, 0.9)], (0.01,) * 3)
    del scores["1"]["m0"]
    del scores["2"]["m1"]
    for same in (True, False):
        changes = changes_of_gaps("m1", scores, same)
        assert [(one.method, one.first, one.second) for one in changes] == [("m2", "0", "1")]
    assert {(gap.value, gap.method) for gap in gaps_to("m1", scores)} == {("0", "m0"), ("0", "m2"), ("1", "m2")}
    assert changes_of_gaps("nobody", scores, True) == ()


def test_scores_that_are_not_right_or_wrong_are_compared_too() -> None:
    rng = np.random.default_rng(5)
    hard = rng.normal(size=300)
    scores = {
        value: {name: -np.abs(hard + rng.normal(0, 0.1, (3, 300))) - cost for name, cost in (("a", 0.0), ("b", extra))}
        for value, extra in (("1", 1.5), ("2", 0.0))
    }
    (change,) = changes_of_gaps("a", scores, same_reviews=True)
    assert change.told_apart
    assert change.interval.low < 1.5 < change.interval.high
    assert change.change > 1.2  # beyond what right and wrong could differ


@pytest.mark.slow
def test_methods_that_differ_alike_at_all_values_are_seldom_said_to_differ_more_at_one() -> None:
    # Accuracy rises with the value for all, and seeds spread more where there is less to train on.
    values, spread = ((0.75,) * 3, (0.85,) * 3, (0.9,) * 3), (0.03, 0.01, 0.004)
    rng = np.random.default_rng(11)
    false, covered, tests = 0, 0, 0
    rounds = 600
    for _ in range(rounds):
        scores = drawn(rng, values, spread, 500)
        changes = changes_of_gaps("m0", scores, same_reviews=True)
        false += any(change.told_apart for change in changes)
        covered += sum(change.interval.low <= 0 <= change.interval.high for change in changes)
        tests += len(changes)
    # Three standard errors of 600 rounds beyond 5 %; the intervals of single changes hold the truth in 93 % or more.
    assert false / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5
    assert covered / tests >= 0.93
