"""The kurtosis of pseudo-values over reviews, and the degrees of freedom that it leaves a variance of theirs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# The square of this, by which degrees of freedom are divided, does not underflow.
LEAST_VARIANCE = 1e-100


def df_of_contrasts(scores: Mapping[str, npt.NDArray[Any]], contrasts: Floats) -> Floats:
    """Returns the degrees of freedom of the variance over reviews of weighted sums of pseudo-values.

    Args:
        scores: The pseudo-values of each method, shape (seeds of the method, N).
        contrasts: The weights of the methods in each sum, shape (P, M).

    Returns:
        The degrees of freedom, shape (P,).
    """
    sums = contrasts @ np.stack([values.mean(axis=0) for values in scores.values()])
    centred = sums - sums.mean(axis=1, keepdims=True)
    return df_of_kurtosis(_kurtosis_of_squares(centred**2), sums.shape[1])


def df_of_kurtosis(kurtosis: Floats, reviews: int) -> Floats:
    """Returns the degrees of freedom that a variance over reviews has for the kurtosis of its values.

    Args:
        kurtosis: Of any shape.
        reviews: Number of reviews N.
    """
    df: Floats = 2 * reviews / np.maximum(kurtosis - 1, 2)
    return np.minimum(df, reviews - 1)


def kurtosis_of_differences(centred: Floats) -> Floats:
    """Returns the kurtosis of each row and of the differences of two rows, 3 where there is no spread.

    Args:
        centred: Seed-mean pseudo-values minus their mean over reviews, shape (M, N).

    Returns:
        The kurtosis of rows on the diagonal, shape (M, M).
    """
    kurtosis = np.full((len(centred), len(centred)), 3.0)
    for number, row in enumerate(centred):
        squares = (centred - row) ** 2
        squares[number] = row**2
        kurtosis[number] = _kurtosis_of_squares(squares)
    return kurtosis


def _kurtosis_of_squares(squares: Floats) -> Floats:
    """Returns the kurtosis of rows from their squared distances to the mean, 3 where there is no spread."""
    kurtosis = np.full(len(squares), 3.0)
    variance = squares.mean(axis=1)
    spread = variance > LEAST_VARIANCE
    # By their mean first: squares of small values would underflow.
    shares = squares[spread] / variance[spread, None]
    kurtosis[spread] = (shares**2).mean(axis=1)
    return kurtosis
