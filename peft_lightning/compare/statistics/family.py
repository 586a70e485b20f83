"""Correcting the p-values of all pairs of methods for how many pairs there are."""

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@cache
def possible_equalities(methods: int) -> frozenset[int]:
    """The numbers of pairs that can be equal at once: equality is transitive, so not every number can.

    Args:
        methods: Number of methods, 0 or more.

    Returns:
        The numbers, 0 and that of all pairs among them (Shaffer 1986, section 4).
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
        p_values: One for each pair of methods, shape (P,), P = M (M − 1) / 2.
        methods: Number of methods M.

    Returns:
        Corrected p-values, in 0 to 1, shape (P,): those of at most 0.05 may be believed together at 5 %.
    """
    order = np.argsort(p_values, kind="stable")
    # With k hypotheses rejected at most P − k are true, and of those numbers only the possible ones count.
    possible = np.array(sorted(possible_equalities(methods)))
    factors = possible[np.searchsorted(possible, len(p_values) - np.arange(len(p_values)), side="right") - 1]
    result = np.empty_like(p_values)
    result[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return result
