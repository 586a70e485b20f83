"""Estimates how many reviews or seeds would tell two methods apart."""

from collections.abc import Callable

from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.variances import variance_of_difference_with

POWER = 0.8
# Larger numbers are not reported, because nobody could use them.
MOST_REVIEWS = 10_000_000
MOST_SEEDS = 1_000


def power(
    components: Components,
    first: int,
    second: int,
    level: float,
    reviews: int | None = None,
    seeds: int | None = None,
) -> float:
    """Returns the power of the test of two methods, if their true difference is the measured one.

    Args:
        components: The experiment.
        first: Index of a method.
        second: Index of the other method.
        level: Two-sided level of the test, in 0 to 1.
        reviews: Number of reviews of a larger experiment; None for the number of this one, here and below.
        seeds: Number of seeds of every method in it.

    Returns:
        The power in 0 to 1, by the noncentral t distribution.
    """
    from scipy import special

    variance = variance_of_difference_with(components, first, second, reviews, seeds)
    df = float(variance.df[0])
    shift = abs(float(components.mean[first] - components.mean[second])) / float(variance.total[0]) ** 0.5
    return float(1 - special.nctdtr(df, shift, special.stdtrit(df, 1 - level / 2)))


def reviews_needed(components: Components, first: int, second: int, level: float) -> int | None:
    """Returns the number of reviews that would tell two methods apart with the same seeds, at a power of 80 %.

    It assumes that the true difference is the measured one, which it is not (Hoenig and Heisey 2001, "The abuse of
    power"). So the number is an order of magnitude, not a promise.

    Args:
        components: The experiment.
        first: Index of a method.
        second: Index of the other method.
        level: Two-sided level of the test, in 0 to 1.

    Returns:
        The number; None if ten million are not enough, because seeds spread too much or the difference is too small.
    """

    def enough(reviews: int) -> bool:
        return power(components, first, second, level, reviews=reviews) >= POWER

    return _least(enough, components.reviews, MOST_REVIEWS)


def seeds_needed(components: Components, first: int, second: int, level: float) -> int | None:
    """Returns the number of seeds of every method that would tell two apart on the same reviews, at a power of 80 %.

    Args:
        components: The experiment.
        first: Index of a method.
        second: Index of the other method.
        level: Two-sided level of the test, in 0 to 1.

    Returns:
        The number; None if a thousand are not enough, because the test sample is too small for the difference, or if
        no method has two seeds.
    """

    def enough(seeds: int) -> bool:
        return power(components, first, second, level, seeds=seeds) >= POWER

    return _least(enough, int(components.seeds.min()) + 1, MOST_SEEDS) if components.seeds_measured else None


def _least(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """Returns the least number that is enough, found by bisection; None if ``high`` is not."""
    if low > high or not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return low
