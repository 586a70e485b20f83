"""How often a comparison of thirty methods is wrong, over many comparisons whose truth is known."""

import itertools

import numpy as np
import pytest

from peft_lightning.compare.statistics import compare_methods
from peft_lightning.compare.statistics.against_baseline import against
from tests.compare.statistics.simulated import ACCURACY, Latent

METHODS, SEEDS, REVIEWS = 30, 3, 2000
COMPARISONS, AT_ONCE = 1000, 20
NAMES = [f"method {number}" for number in range(METHODS)]


def wrong(accuracies: list[float], sd: float, comparisons: int = COMPARISONS) -> tuple[float, float, float]:
    """Shares of comparisons with a false difference among all pairs and against the first method, and of all real
    differences from the first that are found."""
    rng = np.random.default_rng(11)
    equal = {
        (a, b)
        for (a, first), (b, second) in itertools.combinations(zip(NAMES, accuracies, strict=True), 2)
        if first == second
    }
    found: list[tuple[float, float, float]] = []
    for _ in range(comparisons // AT_ONCE):
        for answers in Latent(rng, AT_ONCE, METHODS, SEEDS, REVIEWS).answers(accuracies, [sd] * METHODS).correct:
            statistics = compare_methods(dict(zip(NAMES, answers, strict=True)), plan=False)
            to_one = against(statistics, NAMES[0])
            real = [pair.told_apart for pair in to_one if (pair.second, pair.first) not in equal]
            found.append(
                (
                    any(pair.told_apart and (pair.first, pair.second) in equal for pair in statistics.differences),
                    any(pair.told_apart and (pair.second, pair.first) in equal for pair in to_one),
                    float(np.mean(real)) if real else 0.0,
                )
            )
    all_pairs, against_one, power = np.mean(found, axis=0)
    return float(all_pairs), float(against_one), float(power)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 0.005, 0.01])
def test_thirty_equal_methods_are_seldom_told_apart(sd: float) -> None:
    """Of all 435 pairs and of the 29 against a baseline, at most 6 % of comparisons may hold a false difference."""
    all_pairs, against_one, _ = wrong([ACCURACY] * METHODS, sd)
    assert all_pairs <= 0.06
    assert against_one <= 0.06


@pytest.mark.slow
def test_a_third_of_worse_methods_makes_no_false_differences_among_the_rest() -> None:
    """Step-down procedures get bolder once real differences are found: not too bold."""
    accuracies = [ACCURACY] * (2 * METHODS // 3) + [ACCURACY - 0.03] * (METHODS // 3)
    all_pairs, against_one, power = wrong(accuracies, 0.005, COMPARISONS // 2)
    assert all_pairs <= 0.06
    assert against_one <= 0.06
    assert power >= 0.7
