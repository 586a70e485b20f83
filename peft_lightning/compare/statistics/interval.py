"""Intervals, and those of a metric that has ends which no value passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An interval, in the unit of its quantity; for shares 0.01 is one percentage point."""

    low: float
    high: float


def bounded(centre: float, half: float, least: float, most: float) -> Interval:
    """Returns an interval, cut off where there can be no value.

    Args:
        centre: Its centre.
        half: Half of its length.
        least: The least value that there can be.
        most: The greatest value that there can be.
    """
    return Interval(max(least, float(centre - half)), min(most, float(centre + half)))


def between_ends(value: float, half: float, ends: Interval, examples: int) -> Interval:
    """Returns the interval of a metric, computed on the scale on which its ends are infinitely far.

    It is the logit for a metric between two ends, and the logarithm of the distance from the only end. Near an end
    intervals are longer towards the middle, and none passes the end. ``correlations.py`` has those of numbers.

    Args:
        value: The metric's value.
        half: Half the length that the interval has on the metric's own scale.
        ends: The least and the greatest value; infinite where there is no end.
        examples: Number of examples N. Within 2 / (N + 4) of an end the metric counts as that far from it, with the
            error of a share of so many, as Agresti and Coull (1998) count two imagined examples of the other kind.

    Returns:
        The interval, which contains the value.
    """
    low, high = ends.low, ends.high
    centre = value
    if math.isfinite(high - low):
        share = 2 / (examples + 4)
        nearest = (high - low) * share
        if not low + nearest <= value <= high - nearest:
            centre = min(max(value, low + nearest), high - nearest)
            half = max(half, 2 * (high - low) * math.sqrt(share * (1 - share) / (examples + 4)))
    elif not low < value < high:
        return Interval(value, value)
    place, back, slope = _scale(centre, low, high)
    return Interval(min(value, back(place - half * slope)), max(value, back(place + half * slope)))


def _scale(value: float, low: float, high: float) -> tuple[float, Callable[[float], float], float]:
    """Returns a value on the scale, the way back, and how much the scale moves there with the value."""
    if math.isfinite(low) and math.isfinite(high):
        width, above, below = high - low, value - low, high - value
        return (
            math.log(above) - math.log(below),
            # By tanh, which does not overflow.
            lambda place: low + width * (1 + math.tanh(place / 2)) / 2,
            width / (above * below),
        )
    if math.isfinite(low):
        return math.log(value - low), lambda place: low + _exponential(place), 1 / (value - low)
    if math.isfinite(high):
        return -math.log(high - value), lambda place: high - _exponential(-place), 1 / (high - value)
    return value, lambda place: place, 1.0


def _exponential(power: float) -> float:
    """Returns e to a power; infinity where it is too large for a float."""
    return math.exp(power) if power < 709 else math.inf
