"""Intervals of correlations between numbers, on the scale of Fisher's z right up to the ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from peft_lightning.compare.statistics.interval import Interval
from peft_lightning.compare.statistics.t_distribution import half_of_interval


@dataclass(frozen=True)
class Correlation(Interval):
    """The ends of a correlation of numbers, or of their ranks.

    Its error shrinks towards an end as what is left to the end does, so z = artanh r has about the same error for all
    values (Fisher 1921, "On the 'probable error' of a coefficient of correlation deduced from a small sample"). The
    error is that of the pseudo-values. The formulas' own, 1 / √(N − 3) (Fisher) and √((1 + r²/2) / (N − 3)) for ranks
    (Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations"), hold
    for numbers of a normal distribution. Of 1,500 and 800 simulated correlations of 0.97, their intervals of 95 % held
    79 % for Pearson's of 100 rows with heavy tails (t of 5 degrees of freedom), and 99.9 % for Spearman's of 400 rows
    of five values; those from pseudo-values held 95 and 96 %, as ``test_correlations.py`` checks.

    Args:
        low: The least value.
        high: The greatest value.
        ranks: Whether it is one of ranks: Spearman's.
    """

    low: float = -1.0
    high: float = 1.0
    ranks: bool = False

    def widened(self, examples: int) -> float:
        """Returns what the variance over reviews is multiplied by: Fisher's N − 3 instead of N − 1.

        Without it, of 1,500 intervals from 10 normal rows 89 to 91 % held the correlation, and with it 92 to 94.

        Args:
            examples: Number of examples N.
        """
        return (examples - 1) / (examples - 3) if examples > 3 else math.inf

    def interval(self, value: float, half: float, examples: int) -> Interval:
        """Returns the interval of a correlation.

        A perfect one shows no error. It gets the formula's, around half a step from the end: for ranks the step is to
        the next value, where two neighbours have changed places, and for numbers it is one of 32 bits.

        Args:
            value: The correlation.
            half: Half the length that the interval has on the correlation's own scale.
            examples: Number of examples N; three or fewer say nothing.

        Returns:
            The interval, which contains the value.
        """
        if examples <= 3:
            return Interval(self.low, self.high)
        step = 12 / (examples * (examples**2 - 1)) if self.ranks else 2.0**-24
        centre = min(max(value, self.low + step / 2), self.high - step / 2)
        half /= 1 - centre**2
        if centre != value:
            variance = (1 + centre**2 / 2 if self.ranks else 1.0) / (examples - 3)
            half = max(half, half_of_interval(math.sqrt(variance), math.inf))
        place = math.atanh(centre)
        return Interval(min(value, math.tanh(place - half)), max(value, math.tanh(place + half)))
