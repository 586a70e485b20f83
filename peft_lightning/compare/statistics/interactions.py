"""Differences to a baseline at several values of a setting, and whether they are larger at one value than at another.

The latter is the interaction of method and value: a difference of differences, with an interval and a test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.statistics.components import Components, Floats
from peft_lightning.compare.statistics.family import holm
from peft_lightning.compare.statistics.interval import Interval, bounded
from peft_lightning.compare.statistics.kurtosis import df_of_contrasts
from peft_lightning.compare.statistics.t_distribution import LEVEL, half_of_interval, p_values_of
from peft_lightning.compare.statistics.variances import variance_of_contrasts

# The scores of each method, shape (seeds, N), by the value and the method's name.
Scores = Mapping[str, Mapping[str, npt.NDArray[Any]]]


@dataclass(frozen=True)
class Gap:
    """The difference of a method to the baseline at one value.

    Args:
        method: The method's name.
        value: The value.
        difference: Score of the method minus score of the baseline.
        interval: 95 % interval of this difference alone.
        p_value: For this difference alone.
        corrected_p_value: Corrected for all differences at all values.
        told_apart: Whether the corrected p-value is at most 5 %.
    """

    method: str
    value: str
    difference: float
    interval: Interval
    p_value: float
    corrected_p_value: float
    told_apart: bool


@dataclass(frozen=True)
class Change:
    """How much larger a method's difference to the baseline is at one value than at another.

    Args:
        method: The method's name.
        first: The one value.
        second: The other value.
        change: The difference at the second value minus that at the first.
        interval: 95 % interval of this change alone.
        p_value: For this change alone.
        corrected_p_value: Corrected for all methods and all pairs of values.
        told_apart: Whether the corrected p-value is at most 5 %.
    """

    method: str
    first: str
    second: str
    change: float
    interval: Interval
    p_value: float
    corrected_p_value: float
    told_apart: bool


def gaps_to(baseline: str, scores: Scores, pseudo: bool = False) -> tuple[Gap, ...]:
    """Computes each method's difference to the baseline at each value.

    Args:
        baseline: The method that all others are compared with, chosen before the results were known.
        scores: The scores, as answers to the same reviews at any one value. A value without the baseline is left out.
        pseudo: Whether the scores are pseudo-values of a metric that is no mean of scores.

    Returns:
        The differences, by value and then method.
    """
    found = []
    for value, methods in scores.items():
        if baseline not in methods or len(methods) < 2:
            continue
        names = list(methods)
        components = Components.of(methods)
        others = [name for name in names if name != baseline]
        contrasts = np.stack([_contrast(names, name, baseline) for name in others])
        df = _df(methods, contrasts, pseudo)
        variance = variance_of_contrasts(components, contrasts, components.moderated(), df)
        found += _tested([(name, value) for name in others], contrasts @ components.mean, variance.total, variance.df)
    corrected = holm(np.array([p_value for _, _, _, p_value in found])).tolist()
    bound = _bound(scores)
    return tuple(
        Gap(of[0], of[1], difference, bounded(difference, half, -bound, bound), p_value, family, family <= LEVEL)
        for (of, difference, half, p_value), family in zip(found, corrected, strict=True)
    )


def changes_of_gaps(baseline: str, scores: Scores, same_reviews: bool, pseudo: bool = False) -> tuple[Change, ...]:
    """Computes how each method's difference to the baseline changes from each value to each other.

    Args:
        baseline: The method that all others are compared with, chosen before the results were known.
        scores: The scores, as for ``gaps_to``.
        same_reviews: Whether the reviews are the same, in the same order, at all values. If they are not, the
            differences at two values count as independent.
        pseudo: As for ``gaps_to``.

    Returns:
        The changes, by method and then pair of values; of methods that were tested at both values with the baseline.
    """
    values = [value for value, methods in scores.items() if baseline in methods]
    methods = dict.fromkeys(name for value in values for name in scores[value] if name != baseline)
    pairs = [
        (name, first, second)
        for name in methods
        for first, second in itertools.combinations(values, 2)
        if name in scores[first] and name in scores[second]
    ]
    if not pairs:
        return ()
    estimate = _paired if same_reviews else _apart
    change, total, df = estimate(baseline, {value: scores[value] for value in values}, pairs, pseudo)
    found = _tested(pairs, change, total, df)
    corrected = holm(np.array([p_value for _, _, _, p_value in found])).tolist()
    bound = 2 * _bound(scores)
    return tuple(
        Change(of[0], of[1], of[2], changed, bounded(changed, half, -bound, bound), p_value, family, family <= LEVEL)
        for (of, changed, half, p_value), family in zip(found, corrected, strict=True)
    )


Estimate = tuple[Floats, Floats, Floats]


def _paired(baseline: str, scores: Scores, pairs: Sequence[tuple[str, str, str]], pseudo: bool) -> Estimate:
    """Estimates changes where all means are paired by review; seed variances are pooled within a value."""
    columns = [(value, name) for value, methods in scores.items() for name in methods]
    all_scores = {f"{value}\n{name}": scores[value][name] for value, name in columns}
    components = Components.of(all_scores)
    moderated = np.zeros((len(columns), len(columns)))
    start = 0
    for methods in scores.values():
        block = slice(start, start + len(methods))
        moderated[block, block] = Components.of(methods).moderated()
        start += len(methods)
    contrasts = np.zeros((len(pairs), len(columns)))
    for row, (name, first, second) in enumerate(pairs):
        for value, sign in ((first, -1), (second, 1)):
            contrasts[row, columns.index((value, name))] += sign
            contrasts[row, columns.index((value, baseline))] -= sign
    variance = variance_of_contrasts(components, contrasts, moderated, _df(all_scores, contrasts, pseudo))
    return contrasts @ components.mean, variance.total, variance.df


def _apart(baseline: str, scores: Scores, pairs: Sequence[tuple[str, str, str]], pseudo: bool) -> Estimate:
    """Estimates changes where each value has reviews of its own: variances add up (Satterthwaite 1946)."""
    gap: dict[tuple[str, str], tuple[float, float, float]] = {}
    for value, methods in scores.items():
        names = list(methods)
        components = Components.of(methods)
        contrasts = np.stack([_contrast(names, name, baseline) for name in names])
        difference = contrasts @ components.mean
        # The baseline's own row is no contrast: its weights are all 0.
        others = [number for number, name in enumerate(names) if name != baseline]
        df = _df(methods, contrasts[others], pseudo)
        variance = variance_of_contrasts(components, contrasts[others], components.moderated(), df)
        for place, number in enumerate(others):
            gap[names[number], value] = (difference[number], variance.total[place], variance.df[place])
    ends = np.array([[gap[name, first], gap[name, second]] for name, first, second in pairs])
    change = ends[:, 1, 0] - ends[:, 0, 0]
    total = ends[:, :, 1].sum(axis=1)
    return change, total, total**2 / (ends[:, :, 1] ** 2 / ends[:, :, 2]).sum(axis=1)


def _df(scores: Mapping[str, npt.NDArray[Any]], contrasts: Floats, pseudo: bool) -> Floats | None:
    """Returns the degrees of freedom of the reviews' part; None for scores."""
    return df_of_contrasts(scores, contrasts) if pseudo else None


def _contrast(names: Sequence[str], method: str, baseline: str) -> Floats:
    row = np.zeros(len(names))
    row[names.index(method)] += 1
    row[names.index(baseline)] -= 1
    return row


def _tested(
    of: Sequence[tuple[str, ...]], estimate: Floats, variance: Floats, df: Floats
) -> list[tuple[tuple[str, ...], float, float, float]]:
    """Returns each estimate with half of its interval and its p-value."""
    error = np.sqrt(variance)
    half, p_values = half_of_interval(error, df), p_values_of(estimate, error, df)
    return list(zip(of, estimate.tolist(), half.tolist(), p_values.tolist(), strict=True))


def _bound(scores: Scores) -> float:
    """Returns the largest possible difference."""
    arrays = [array for methods in scores.values() for array in methods.values()]
    return 1.0 if all(array.dtype == np.bool_ for array in arrays) else math.inf
