"""Compares methods: the difference of each pair with an interval and a test, from the scores of all runs."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.family import corrected
from peft_lightning.compare.statistics.interval import Interval, bounded
from peft_lightning.compare.statistics.method_scores import MethodScore, checked_scores, ends_of_means, mean_scores
from peft_lightning.compare.statistics.more_runs import reviews_needed, seeds_needed
from peft_lightning.compare.statistics.t_distribution import LEVEL, half_of_interval, p_values_of
from peft_lightning.compare.statistics.variances import variance_of_differences


@dataclass(frozen=True)
class Difference:
    """The difference between two methods; for right and wrong answers 0.01 is one percentage point.

    Args:
        first: Name of one method.
        second: Name of the other.
        difference: Score of the first minus score of the second.
        standard_error: Standard error of the difference, over new seeds and new reviews.
        df: Degrees of freedom of the t distribution.
        interval: 95 % interval for this pair alone.
        p_value: Probability that methods of equal scores differ by as much or more, for this pair alone.
        corrected_p_value: The p-value corrected for the number of pairs.
        told_apart: Whether the corrected p-value is at most 5 %.
        reviews_needed: Number of reviews that would tell them apart with the same seeds at a power of 80 %, if the
            true difference is the measured one; None if they are told apart, or if more reviews are not enough.
        seeds_needed: Number of seeds of every method that would do so on the same reviews; None likewise.
    """

    first: str
    second: str
    difference: float
    standard_error: float
    df: float
    interval: Interval
    p_value: float
    corrected_p_value: float
    told_apart: bool
    reviews_needed: int | None
    seeds_needed: int | None

    @property
    def reversed(self) -> "Difference":
        """The second method minus the first."""
        interval = Interval(-self.interval.high, -self.interval.low)
        return replace(self, first=self.second, second=self.first, difference=-self.difference, interval=interval)


@dataclass(frozen=True)
class Statistics:
    """The statistics of the methods of a comparison.

    Args:
        reviews: Number of test reviews.
        seeds_measured: Whether any method has two seeds, so that intervals include their spread.
        methods: One entry for each method, in the order of the scores.
        differences: One entry for each pair, in the order of ``itertools.combinations``.
    """

    reviews: int
    seeds_measured: bool
    methods: tuple[MethodScore, ...]
    differences: tuple[Difference, ...]


def compare_methods(scores: Mapping[str, npt.ArrayLike], plan: bool = True, ends: Interval | None = None) -> Statistics:
    """Compares methods that were trained with several seeds and tested on the same reviews.

    The package's docstring explains the method.

    Args:
        scores: The scores of each method's answers: True or False, or 1 or 0, for right and wrong, or else floats,
            higher is better. Shape (seeds of the method, N), with columns in the same order of reviews for all. One
            seed is enough, and numbers of seeds may differ.
        plan: Whether to estimate how many reviews or seeds would tell apart the pairs that are not, which takes some
            milliseconds for each pair.
        ends: The least and the greatest value of a metric that is no mean of scores, of which these are pseudo-values
            (``Task.pseudo_values``, higher is better); None for scores. Bools are scores in any case.

    Returns:
        Mean scores of M methods and differences of M (M − 1) / 2 pairs.

    Raises:
        ValueError: If there are fewer than two methods or reviews, or an array is not of that shape and kind.
    """
    if len(scores) < 2:
        raise ValueError(f"a comparison takes at least two methods, not {len(scores)}")
    answers = checked_scores(scores, ends is not None)
    components = Components.of(answers, ends is not None)
    names = list(answers)
    pairs = np.array(list(itertools.combinations(range(len(names)), 2)))
    first, second = pairs[:, 0], pairs[:, 1]
    difference = components.mean[first] - components.mean[second]
    variance = variance_of_differences(components, first, second)
    error = np.sqrt(variance.total)
    half = half_of_interval(error, variance.df)
    p_values = p_values_of(difference, error, variance.df)
    family = corrected(p_values, len(names))
    # The largest possible difference.
    least_value, most_value = ends_of_means(components, ends)
    most = 1.0 if components.binary else most_value - least_value
    differences = []
    for number, (left, right) in enumerate(pairs.tolist()):
        told_apart = bool(family[number] <= LEVEL)
        # At Bonferroni's level, which is the strictest that the correction can require of a pair.
        wanted = (components, left, right, LEVEL / len(pairs))
        differences.append(
            Difference(
                first=names[left],
                second=names[right],
                difference=float(difference[number]),
                standard_error=float(error[number]),
                df=float(variance.df[number]),
                interval=bounded(difference[number], half[number], -most, most),
                p_value=float(p_values[number]),
                corrected_p_value=float(family[number]),
                told_apart=told_apart,
                reviews_needed=reviews_needed(*wanted) if plan and not told_apart else None,
                seeds_needed=seeds_needed(*wanted) if plan and not told_apart else None,
            )
        )
    means = mean_scores(answers, components, ends)
    return Statistics(components.reviews, components.seeds_measured, means, tuple(differences))
