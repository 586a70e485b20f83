"""Computes means with intervals, and differences with tests, from the scores of all runs."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.family import corrected
from peft_lightning.compare.statistics.interval import Interval, between_ends
from peft_lightning.compare.statistics.more_runs import reviews_needed, seeds_needed
from peft_lightning.compare.statistics.variances import shrunk_mean, variance_of_differences, variance_of_means

CONFIDENCE = 0.95
LEVEL = 0.05


@dataclass(frozen=True)
class MethodScore:
    """A method's mean score, which is the accuracy if answers are right or wrong. Intervals are of 95 %.

    Of pseudo-values it is their metric, a mean over the seeds; all is oriented so that higher is better.

    Args:
        method: The method's name.
        seeds: Number of seeds it was trained with.
        mean: Mean score over the seeds.
        interval: Interval of the score with new seeds on new reviews. If no method has two seeds, it is
            ``sample_interval``.
        sample_interval: Interval of the score of these trained models on new reviews.
        seed_interval: Interval of the score with new seeds on these reviews, by Student's t over the seeds; None with
            one seed.
        seed_sd: Standard deviation of the seeds' mean scores on these reviews; None with one seed.
    """

    method: str
    seeds: int
    mean: float
    interval: Interval
    sample_interval: Interval
    seed_interval: Interval | None
    seed_sd: float | None


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
    from scipy import special

    if len(scores) < 2:
        raise ValueError(f"a comparison takes at least two methods, not {len(scores)}")
    answers = _checked(scores, ends is not None)
    components = Components.of(answers, ends is not None)
    names = list(answers)
    pairs = np.array(list(itertools.combinations(range(len(names)), 2)))
    first, second = pairs[:, 0], pairs[:, 1]
    difference = components.mean[first] - components.mean[second]
    variance = variance_of_differences(components, first, second)
    error = np.sqrt(variance.total)
    half = special.stdtrit(variance.df, (1 + CONFIDENCE) / 2) * error
    p_values = np.minimum(1, 2 * special.stdtr(variance.df, -np.abs(difference) / error))
    family = corrected(p_values, len(names))
    # The largest possible difference.
    least_value, most_value = _ends(components, ends)
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
                interval=_interval(difference[number], half[number], -most, most),
                p_value=float(p_values[number]),
                corrected_p_value=float(family[number]),
                told_apart=told_apart,
                reviews_needed=reviews_needed(*wanted) if plan and not told_apart else None,
                seeds_needed=seeds_needed(*wanted) if plan and not told_apart else None,
            )
        )
    means = _means(answers, components, ends)
    return Statistics(components.reviews, components.seeds_measured, means, tuple(differences))


def measure_methods(scores: Mapping[str, npt.ArrayLike], ends: Interval | None = None) -> tuple[MethodScore, ...]:
    """Measures one or more methods without comparing them.

    Args:
        scores: As for ``compare_methods``.
        ends: As for ``compare_methods``.

    Returns:
        Their mean scores, in the order of ``scores``.

    Raises:
        ValueError: If there is no method, fewer than two reviews, or an array is not of that shape and kind.
    """
    if not scores:
        raise ValueError("there is no method to measure")
    answers = _checked(scores, ends is not None)
    return _means(answers, Components.of(answers, ends is not None), ends)


def _ends(components: Components, ends: Interval | None) -> tuple[float, float]:
    """Returns the least and the greatest mean that there can be."""
    if components.binary:
        return 0.0, 1.0
    return (-math.inf, math.inf) if ends is None else (ends.low, ends.high)


def _means(
    answers: Mapping[str, npt.NDArray[Any]], components: Components, limits: Interval | None
) -> tuple[MethodScore, ...]:
    from scipy import special

    variance = variance_of_means(components)
    centre = shrunk_mean(components)
    half = special.stdtrit(variance.df, (1 + CONFIDENCE) / 2) * np.sqrt(variance.total)
    places = np.arange(len(answers))
    of_reviews = components.df_of_reviews(places, places)
    df = components.reviews - 1 if of_reviews is None else of_reviews
    sample_half = special.stdtrit(df, (1 + CONFIDENCE) / 2) * np.sqrt(variance.reviews)
    ends = _ends(components, limits)
    scaled = limits is not None and not components.binary
    methods = []
    for number, (name, scores) in enumerate(answers.items()):
        seeds, mean = len(scores), float(components.mean[number])
        sd = float(scores.mean(axis=1).std(ddof=1)) if seeds > 1 else None
        over_seeds = None
        if sd is not None:
            over_seeds = _interval(mean, special.stdtrit(seeds - 1, (1 + CONFIDENCE) / 2) * sd / seeds**0.5, *ends)
        methods.append(
            MethodScore(
                method=name,
                seeds=seeds,
                mean=mean,
                interval=_of_mean(centre[number], half[number], ends, scaled, components.reviews),
                sample_interval=_of_mean(centre[number], sample_half[number], ends, scaled, components.reviews),
                seed_interval=over_seeds,
                seed_sd=sd,
            )
        )
    return tuple(methods)


def _of_mean(centre: float, half: float, ends: tuple[float, float], scaled: bool, reviews: int) -> Interval:
    if scaled:
        return between_ends(float(centre), float(half), Interval(*ends), reviews)
    return _interval(centre, half, *ends)


def _interval(centre: float, half: float, least: float, most: float) -> Interval:
    return Interval(max(least, float(centre - half)), min(most, float(centre + half)))


def _checked(scores: Mapping[str, npt.ArrayLike], pseudo: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Returns the scores as arrays, of bool if all are right or wrong; pseudo-values of 0 and 1 are floats."""
    arrays = {name: np.asarray(values) for name, values in scores.items()}
    reviews = None
    for name, values in arrays.items():
        if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
            raise ValueError(f"{name}: correctness has shape {values.shape}, not (seeds ≥ 1, reviews ≥ 2)")
        finite = np.issubdtype(values.dtype, np.floating) and bool(np.isfinite(values).all())
        if not finite and not _right_or_wrong(values):
            raise ValueError(
                f"{name}: correctness holds values other than True, False, 1 and 0, which are no finite floats either"
            )
        if reviews is not None and values.shape[1] != reviews:
            raise ValueError(f"{name} was tested on {values.shape[1]} reviews and {next(iter(arrays))} on {reviews}")
        reviews = values.shape[1]
    binary = all(values.dtype == np.bool_ if pseudo else _right_or_wrong(values) for values in arrays.values())
    return {name: values.astype(np.bool_ if binary else np.float64) for name, values in arrays.items()}


def _right_or_wrong(values: npt.NDArray[Any]) -> bool:
    return values.dtype == np.bool_ or bool(np.isin(values, (0, 1)).all())
