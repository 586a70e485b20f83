"""How much larger an experiment would have to be to tell two methods apart."""

from collections.abc import Callable

import numpy as np

from peft_lightning.compare.statistics.components import Components

POWER = 0.8
# Beyond these the answer is of no use to anybody.
MOST_REVIEWS = 10_000_000
MOST_SEEDS = 1_000


def power(components: Components, first: int, second: int, level: float) -> float:
    """The chance that the difference between two methods, if it is what was measured, is found.

    Args:
        components: The experiment.
        first: Number of one method.
        second: Number of the other.
        level: Two-sided level of the test, in 0 to 1.

    Returns:
        The chance, in 0 to 1, by the noncentral t distribution.
    """
    from scipy import special

    variance = components.of_differences(np.array([first]), np.array([second]))
    df = float(variance.df[0])
    shift = abs(float(components.mean[first] - components.mean[second])) / float(variance.total[0]) ** 0.5
    return float(1 - special.nctdtr(df, shift, special.stdtrit(df, 1 - level / 2)))


def reviews_needed(components: Components, first: int, second: int, level: float) -> int | None:
    """The number of reviews that would tell two methods apart at the same seeds, with a power of 80 %.

    It takes the difference measured for the true one, which it is not (Hoenig and Heisey 2001, "The abuse of power"):
    an order of magnitude, not a promise.

    Args:
        components: The experiment.
        first: Number of one method.
        second: Number of the other.
        level: Two-sided level of the test, in 0 to 1.

    Returns:
        The number; None where ten millions would not do, because seeds spread too much or the difference is too small.
    """

    def enough(reviews: int) -> bool:
        return power(components.expected_with(reviews=reviews), first, second, level) >= POWER

    return _least(enough, components.reviews, MOST_REVIEWS)


def seeds_needed(components: Components, first: int, second: int, level: float) -> int | None:
    """The number of seeds of every method that would tell two methods apart on the same reviews, with a power of 80 %.

    Args:
        components: The experiment.
        first: Number of one method.
        second: Number of the other.
        level: Two-sided level of the test, in 0 to 1.

    Returns:
        The number; None where a thousand would not do, because the test sample is too small for the difference, or
        where no method has two seeds.
    """

    def enough(seeds: int) -> bool:
        return power(components.expected_with(seeds=seeds), first, second, level) >= POWER

    return _least(enough, int(components.seeds.min()) + 1, MOST_SEEDS) if components.seeds_measured else None


def _least(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The least number that is enough, by bisection."""
    if low > high or not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return low
