"""Seeded, stratified subsets: which rows are trained on, validated on and tested on.

Every draw has a generator of its own, made from `data.seed` and the name of the draw, so no draw moves another and
the global random number generators are neither read nor advanced.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from peft_lightning.errors import Part, Setting, UserError

Positions = NDArray[np.int64]
Strata = NDArray[np.int64]


class Draw(IntEnum):
    """What is drawn with one seed; the numbers are part of what a seed means and must not change."""

    HELD_OUT = 0
    VALIDATION = 1
    TRAINING = 2
    TEST = 3


def stratified_order(strata: Strata, seed: int, draw: Draw) -> Positions:
    """Order the rows so that every prefix holds the strata in proportion.

    The j-th row of a stratum of size N comes at (j - 1/2) / N, which is the apportionment of Webster and
    Sainte-Laguë: unlike the largest remainder's its subsets are nested, so that a larger `n_train` only adds rows.

    Args:
        strata: group of each row, such as its class, shape (n,).
        seed: the seed of the subsets.
        draw: what is drawn.

    Returns:
        All positions, shape (n,).
    """
    generator = np.random.Generator(np.random.PCG64([seed, int(draw)]))
    order = generator.permutation(len(strata))
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata[order] == stratum)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place, kind="stable")].astype(np.int64)


def hold_out(strata: Strata, n: int, seed: int) -> tuple[Positions, Positions]:
    """Part rows that came without a test split.

    Args:
        strata: group of each row.
        n: number of rows to hold out.
        seed: the seed of the subsets.

    Returns:
        Positions of the remaining and of the held-out rows, each ascending.
    """
    order = stratified_order(strata, seed, Draw.HELD_OUT)
    return np.sort(order[n:]), np.sort(order[:n])


def draw_training_and_validation(
    strata: Strata, n_train: int | None, n_val: int | None, seed: int
) -> tuple[Positions, Positions]:
    """Draw the validation rows out of a training split first, then the training rows out of what remains.

    Args:
        strata: group of each row of the training split.
        n_train: number of rows to train on; None takes all that validation leaves.
        n_val: number of rows to validate on; None is the smaller of 1,000 and a tenth of the split.
        seed: the seed of the subsets.

    Returns:
        Positions of the training and of the validation rows, each ascending; the latter do not depend on
        `n_train`.

    Raises:
        UserError: the split is too small for both.
    """
    check_sizes(len(strata), None, n_train, n_val, None)
    held = _held(len(strata), n_val)
    validation = np.sort(stratified_order(strata, seed, Draw.VALIDATION)[:held])
    remaining = np.setdiff1d(np.arange(len(strata)), validation)
    training = remaining[stratified_order(strata[remaining], seed, Draw.TRAINING)[:n_train]]
    return np.sort(training), validation


def draw_test(strata: Strata, n_test: int | None, seed: int) -> Positions:
    """Draw the test rows.

    Args:
        strata: group of each row of the test split.
        n_test: number of rows to test on; None takes all.
        seed: the seed of the subsets.

    Returns:
        Positions of the test rows, ascending.

    Raises:
        UserError: the split is too small.
    """
    check_sizes(None, len(strata), None, None, n_test)
    return np.sort(stratified_order(strata, seed, Draw.TEST)[:n_test])


def check_sizes(
    training_rows: int | None, test_rows: int | None, n_train: int | None, n_val: int | None, n_test: int | None
) -> None:
    """Make sure that there are as many rows as are asked for, of all splits at once.

    Args:
        training_rows: rows of the training split; None if that is not to be looked at.
        test_rows: rows of the test split, likewise.
        n_train: rows to train on; None takes all that validation leaves.
        n_val: rows to validate on; None is the smaller of 1,000 and a tenth of the split.
        n_test: rows to test on; None takes all.

    Raises:
        UserError: there are fewer.
    """
    lacking: list[str] = []
    mends: list[Part] = []
    if training_rows is not None and _held(training_rows, n_val) + (n_train or 1) > training_rows:
        wanted = "at least 1" if n_train is None else f"{n_train:,}"
        lacking.append(
            f"the training split has {training_rows:,} rows, and n_train {wanted} and"
            f" n_val {_held(training_rows, n_val):,} are asked for"
        )
        mends.append(Setting("data.n_val" if _held(training_rows, n_val) >= training_rows else "data.n_train", None))
    if test_rows is not None and n_test is not None and n_test > test_rows:
        lacking.append(f"the test split has {test_rows:,} rows, and n_test {n_test:,} is asked for")
        mends += [" ", Setting("data.n_test", None)] if mends else [Setting("data.n_test", None)]
    if lacking:
        raise UserError(f"{'; '.join(lacking)}: say fewer, or ", *mends, " for all there are")


def _held(rows: int, n_val: int | None) -> int:
    return min(1000, max(1, rows // 10)) if n_val is None else n_val
