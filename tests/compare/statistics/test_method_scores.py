import numpy as np
import pytest
from scipy import stats

from peft_lightning.compare.statistics import compare_methods, measure_methods
from tests.compare.statistics.simulated import ACCURACY, REVIEWS, simulated


def test_seed_figures_are_students() -> None:
    right = simulated([ACCURACY, ACCURACY])
    method = compare_methods(right).methods[0]
    accuracies = right["a"].mean(axis=1)
    low, high = stats.t.interval(0.95, 2, loc=accuracies.mean(), scale=stats.sem(accuracies))
    assert method.seed_interval is not None
    assert (method.seed_interval.low, method.seed_interval.high) == pytest.approx((low, high))
    assert method.seed_sd == pytest.approx(accuracies.std(ddof=1))


def test_sample_interval_of_one_seed_is_the_binomials() -> None:
    right = np.arange(REVIEWS)[None] < 0.9 * REVIEWS
    found = compare_methods({"a": right, "b": ~right}).methods[0].sample_interval
    wilson = stats.binomtest(1800, REVIEWS).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.0002)


def test_methods_are_measured_alone_as_they_are_in_a_comparison() -> None:
    correct = simulated([0.88, 0.9])
    assert measure_methods(correct) == compare_methods(correct).methods
    (alone,) = measure_methods({"a": correct["a"]})
    assert alone.mean == pytest.approx(correct["a"].mean())
    assert alone.interval.low < alone.sample_interval.low < alone.mean < alone.interval.high
    with pytest.raises(ValueError, match="no method to measure"):
        measure_methods({})
