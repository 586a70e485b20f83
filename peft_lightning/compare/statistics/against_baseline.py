"""Compares every method with one baseline, many to one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peft_lightning.compare.statistics.family import holm
from peft_lightning.compare.statistics.paired_tests import Difference, Statistics
from peft_lightning.compare.statistics.t_distribution import LEVEL


def against(statistics: Statistics, baseline: str) -> tuple[Difference, ...]:
    """Compares every other method with the baseline.

    The baseline must be chosen before the results are known. Then only these comparisons count, and their p-values are
    corrected for their number instead of that of all pairs: with 40 methods for 39 instead of 780.

    Args:
        statistics: The tests of all pairs.
        baseline: The name of the baseline.

    Returns:
        Differences, each method minus the baseline, best first; ``told_apart`` and the corrected p-value are of these
        comparisons. The numbers of reviews and seeds needed are left out: they are for all pairs.

    Raises:
        ValueError: If the baseline was not tested.
    """
    pairs = [
        pair if pair.second == baseline else pair.reversed
        for pair in statistics.differences
        if baseline in (pair.first, pair.second)
    ]
    if not pairs:
        raise ValueError(f"{baseline} was not tested beside others")
    corrected = holm(np.array([pair.p_value for pair in pairs]))
    compared = [
        replace(
            pair,
            corrected_p_value=float(p_value),
            told_apart=bool(p_value <= LEVEL),
            reviews_needed=None,
            seeds_needed=None,
        )
        for pair, p_value in zip(pairs, corrected, strict=True)
    ]
    return tuple(sorted(compared, key=lambda pair: -pair.difference))
