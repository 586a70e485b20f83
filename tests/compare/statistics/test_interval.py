import math

import pytest

from peft_lightning.compare.statistics.interval import Interval, between_ends

SHARE = Interval(0.0, 1.0)


def test_a_correlation_has_fisher_s_interval() -> None:
    error = (1 - 0.8**2) / math.sqrt(300)
    found = between_ends(0.8, 1.96 * error, Interval(-1.0, 1.0), 300)
    z, half = math.atanh(0.8), 1.96 / math.sqrt(300)
    assert (found.low, found.high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)))


def test_an_error_has_an_interval_of_ratios_and_so_has_the_unexplained_variance() -> None:
    found = between_ends(2.0, 0.4, Interval(0.0, math.inf), 300)
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-0.2), 2 * math.exp(0.2)))
    negative = between_ends(-2.0, 0.4, Interval(-math.inf, 0.0), 300)
    assert (negative.low, negative.high) == pytest.approx((-found.high, -found.low))
    explained = between_ends(0.6, 0.1, Interval(-math.inf, 1.0), 300)
    assert (1 - explained.high, 1 - explained.low) == pytest.approx((0.4 * math.exp(-0.25), 0.4 * math.exp(0.25)))


@pytest.mark.parametrize(("value", "half"), [(0.999, 0.01), (0.5, 30.0), (1e-9, 0.3), (0.0, 0.0), (1.0, 0.2)])
def test_no_interval_passes_an_end_or_lacks_its_value(value: float, half: float) -> None:
    found = between_ends(value, half, SHARE, 300)
    assert 0 <= found.low <= value <= found.high <= 1


def test_a_perfect_value_is_no_certainty() -> None:
    found = between_ends(1.0, 0.0, SHARE, 300)
    assert found.high == 1
    # Of 300 right answers of 300, Agresti and Coull's interval begins at 0.984.
    assert 0.965 < found.low < 0.99
    assert between_ends(0.0, 0.0, SHARE, 300).high == pytest.approx(1 - found.low)


def test_a_metric_without_ends_has_the_plain_interval() -> None:
    assert between_ends(3.0, 0.5, Interval(-math.inf, math.inf), 9) == Interval(2.5, 3.5)
    # No error at all is at the only end: there is nothing to scale.
    assert between_ends(0.0, 0.0, Interval(0.0, math.inf), 9) == Interval(0.0, 0.0)
