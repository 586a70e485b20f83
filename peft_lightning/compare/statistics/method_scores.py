"""Measures methods one by one: the mean of their scores, with intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.correlations import Correlation
from peft_lightning.compare.statistics.interval import Interval, between_ends, bounded
from peft_lightning.compare.statistics.t_distribution import half_of_interval
from peft_lightning.compare.statistics.variances import shrunk_mean, variance_of_means


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
    answers = checked_scores(scores, ends is not None)
    return mean_scores(answers, Components.of(answers, ends is not None), ends)


def ends_of_means(components: Components, ends: Interval | None) -> tuple[float, float]:
    """Returns the least and the greatest mean that there can be.

    Args:
        components: The experiment.
        ends: As for ``compare_methods``.
    """
    if components.binary:
        return 0.0, 1.0
    return (-math.inf, math.inf) if ends is None else (ends.low, ends.high)


def mean_scores(
    answers: Mapping[str, npt.NDArray[Any]], components: Components, limits: Interval | None
) -> tuple[MethodScore, ...]:
    """Returns the mean score of each method with its intervals.

    Args:
        answers: Scores, as ``checked_scores`` returns them.
        components: Their components.
        limits: The ``ends`` of ``compare_methods``.
    """
    variance = variance_of_means(components)
    centre = shrunk_mean(components)
    of_sample = variance.reviews
    if isinstance(limits, Correlation):
        of_sample = of_sample * limits.widened(components.reviews)
    half = half_of_interval(np.sqrt(of_sample + variance.seeds), variance.df)
    places = np.arange(len(answers))
    of_reviews = components.df_of_reviews(places, places)
    df = components.reviews - 1 if of_reviews is None else of_reviews
    sample_half = half_of_interval(np.sqrt(of_sample), df)
    ends = ends_of_means(components, limits)
    scale = None if components.binary else limits
    methods = []
    for number, (name, scores) in enumerate(answers.items()):
        seeds, mean = len(scores), float(components.mean[number])
        sd = float(scores.mean(axis=1).std(ddof=1)) if seeds > 1 else None
        over_seeds = None
        if sd is not None:
            over_seeds = bounded(mean, half_of_interval(sd, seeds - 1) / seeds**0.5, *ends)
        methods.append(
            MethodScore(
                method=name,
                seeds=seeds,
                mean=mean,
                interval=_of_mean(centre[number], half[number], ends, scale, components.reviews),
                sample_interval=_of_mean(centre[number], sample_half[number], ends, scale, components.reviews),
                seed_interval=over_seeds,
                seed_sd=sd,
            )
        )
    return tuple(methods)


def _of_mean(centre: float, half: float, ends: tuple[float, float], scale: Interval | None, reviews: int) -> Interval:
    if scale is None:
        return bounded(centre, half, *ends)
    if isinstance(scale, Correlation):
        return scale.interval(float(centre), float(half), reviews)
    return between_ends(float(centre), float(half), scale, reviews)


def checked_scores(scores: Mapping[str, npt.ArrayLike], pseudo: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Returns the scores as arrays, of bool if all are right or wrong; pseudo-values of 0 and 1 are floats.

    Args:
        scores: As for ``compare_methods``.
        pseudo: Whether they are pseudo-values.

    Raises:
        ValueError: If an array is not of that shape and kind.
    """
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
