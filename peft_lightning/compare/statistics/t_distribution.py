"""Intervals and two-sided tests by Student's t distribution, at the levels that hold for all comparisons."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
LEVEL = 0.05

Floats = npt.NDArray[np.float64]
Numbers = TypeVar("Numbers", float, Floats)


def half_of_interval(error: Numbers, df: Floats | float) -> Numbers:
    """Returns half the length of 95 % intervals.

    Args:
        error: Standard errors, shape (P,), or a single one.
        df: Their degrees of freedom, shape (P,), or the same for all; infinite for the normal distribution.
    """
    from scipy import special

    half: Numbers = special.stdtrit(df, (1 + CONFIDENCE) / 2) * error
    return half


def p_values_of(estimate: Floats, error: Floats, df: Floats) -> Floats:
    """Returns how probable it is that estimates of nothing differ from 0 by as much as these, or more.

    Args:
        estimate: Estimates, shape (P,).
        error: Their standard errors, shape (P,).
        df: Their degrees of freedom, shape (P,).
    """
    from scipy import special

    found: Floats = np.minimum(1, 2 * special.stdtr(df, -np.abs(estimate) / error))
    return found
