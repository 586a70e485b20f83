"""Corrects p-values for their number: of all pairs of methods (Shaffer 1986), or of all against one (Holm 1979)."""

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@cache
def possible_equalities(methods: int) -> frozenset[int]:
    """Returns the numbers of pairs that can be equal at once. Equality is transitive, so not every number can.

    Args:
        methods: Number of methods, 0 or more.

    Returns:
        The numbers, including 0 and the number of all pairs (Shaffer 1986, section 4).
    """
    if methods < 2:
        return frozenset({0})
    # The largest group of equal methods has `group` members; the rest fall into groups of their own.
    return frozenset(
        group * (group - 1) // 2 + rest
        for group in range(1, methods + 1)
        for rest in possible_equalities(methods - group)
    )


def corrected(p_values: Floats, methods: int) -> Floats:
    """Corrects the p-values of all pairs (Shaffer 1986, "Modified sequentially rejective multiple test procedures").

    Args:
        p_values: A p-value for each pair of methods, shape (P,), P = M (M − 1) / 2.
        methods: Number of methods M.

    Returns:
        Corrected p-values in 0 to 1, shape (P,). Those of at most 0.05 hold together with a family-wise error of 5 %.
    """
    order = np.argsort(p_values, kind="stable")
    # After k rejections at most P − k hypotheses are true, and only possible numbers of them count.
    possible = np.array(sorted(possible_equalities(methods)))
    factors = possible[np.searchsorted(possible, len(p_values) - np.arange(len(p_values)), side="right") - 1]
    result = np.empty_like(p_values)
    result[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return result


def holm(p_values: Floats) -> Floats:
    """Corrects p-values of which any number can be equal (Holm 1979, "A simple sequentially rejective procedure").

    Against one baseline, whether a method equals it says nothing of the others, so Shaffer's counting does not help.

    Args:
        p_values: A p-value for each comparison, shape (P,).

    Returns:
        Corrected p-values in 0 to 1, shape (P,). Those of at most 0.05 hold together with a family-wise error of 5 %.
    """
    order = np.argsort(p_values, kind="stable")
    result = np.empty_like(p_values)
    result[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return result
