import numpy as np
import pytest

from peft_lightning.compare.statistics.family import corrected, holm, possible_equalities


@pytest.mark.parametrize(
    ("methods", "numbers"),
    [(2, {0, 1}), (3, {0, 1, 3}), (4, {0, 1, 2, 3, 6}), (5, {0, 1, 2, 3, 4, 6, 10})],
)
def test_numbers_of_equal_pairs_are_shaffers(methods: int, numbers: set[int]) -> None:
    assert possible_equalities(methods) == numbers


def test_four_methods_by_hand() -> None:
    """Factors 6, 3, 3, 3, 2, 1 in the order of the p-values, and never below the one before."""
    p_values = np.array([0.2, 0.001, 0.03, 0.012, 0.01, 0.02])
    assert corrected(p_values, 4) == pytest.approx([0.2, 0.006, 0.06, 0.036, 0.03, 0.06])


def test_against_one_baseline_the_factors_are_holm_s() -> None:
    """Factors 4, 3, 2, 1 in the order of the p-values, never below the one before, and at most 1."""
    assert holm(np.array([0.2, 0.001, 0.6, 0.02])) == pytest.approx([0.4, 0.004, 0.6, 0.06])
    assert holm(np.array([0.7, 0.8])) == pytest.approx([1.0, 1.0])


def test_the_correction_is_ready_for_eight_hundred_pairs_and_never_less_than_that_of_all_that_can_be_equal() -> None:
    p_values = np.full(780, 1e-9)
    p_values[0] = 6.4e-5
    found = corrected(p_values, 40)
    # Once all others differ, one pair alone is left that can be equal; the first takes all 780.
    assert found[0] == pytest.approx(6.4e-5)
    assert found[1:].min() == pytest.approx(780e-9)


def test_one_pair_needs_no_correction() -> None:
    assert corrected(np.array([0.04]), 2) == pytest.approx([0.04])


@pytest.mark.parametrize("methods", [3, 4, 5, 6])
def test_never_less_than_uncorrected_nor_more_than_holms(methods: int) -> None:
    rng = np.random.default_rng(methods)
    pairs = methods * (methods - 1) // 2
    for _ in range(50):
        p_values = rng.uniform(size=pairs) ** 4
        order = np.argsort(p_values)
        holm = np.empty(pairs)
        holm[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(pairs, 0, -1)))
        found = corrected(p_values, methods)
        assert (found >= p_values).all()
        assert (found <= holm + 1e-12).all()
        assert found.max() <= 1
