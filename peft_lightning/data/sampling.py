"""Seeded, stratified subsets: draws the training, validation and test rows.

Every draw has its own generator, seeded with ``data.seed`` and the number of the draw. So no draw changes another, and
the global random number generators are neither read nor advanced.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from peft_lightning.errors import Part, Setting, UserError

Positions = NDArray[np.int64]
Strata = NDArray[np.int64]


class Draw(IntEnum):
    """The draws made with one seed. Their numbers seed the generators: another number means another subset."""

    HELD_OUT = 0
    VALIDATION = 1
    TRAINING = 2
    TEST = 3


def stratified_order(strata: Strata, seed: int, draw: Draw) -> Positions:
    """Orders the rows so that every prefix holds the strata in proportion.

    The j-th row of a stratum of size N is placed at (j - 1/2) / N, which is the apportionment of Webster and
    Sainte-Laguë. Its subsets are nested, unlike those of the largest-remainder method: a larger ``n_train`` only adds
    rows.

    Args:
        strata: Group of each row, such as its class, shape (n,).
        seed: Seed of the subsets.
        draw: Which subset is drawn.

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
    """Holds out a test split from rows that came without one.

    Args:
        strata: Group of each row.
        n: Number of rows to hold out.
        seed: Seed of the subsets.

    Returns:
        The positions of the remaining rows and of the held-out rows, each ascending.
    """
    order = stratified_order(strata, seed, Draw.HELD_OUT)
    return np.sort(order[n:]), np.sort(order[:n])


def draw_training_and_validation(
    strata: Strata, n_train: int | None, n_val: int | None, seed: int
) -> tuple[Positions, Positions]:
    """Draws validation rows from a training split first, then training rows from what remains.

    Args:
        strata: Group of each row of the training split.
        n_train: Number of rows to train on; None for all that validation leaves.
        n_val: Number of rows to validate on; None for 1,000, or a tenth of the split if that is less.
        seed: Seed of the subsets.

    Returns:
        The positions of the training rows and of the validation rows, each ascending. The validation rows do not depend
        on ``n_train``.

    Raises:
        UserError: If the split is too small for both.
    """
    check_sizes(len(strata), None, n_train, n_val, None)
    held = _held(len(strata), n_val)
    validation = np.sort(stratified_order(strata, seed, Draw.VALIDATION)[:held])
    # Not setdiff1d, which sorts: 1.2 s for 800,000 rows.
    remaining = np.flatnonzero(~np.isin(np.arange(len(strata)), validation, kind="table"))
    training = remaining[stratified_order(strata[remaining], seed, Draw.TRAINING)[:n_train]]
    return np.sort(training), validation


def draw_apart(
    strata: Strata, val_strata: Strata, n_train: int | None, n_val: int | None, seed: int
) -> tuple[Positions, Positions]:
    """Draws training rows and validation rows from a split each.

    Args:
        strata: Group of each row of the training split.
        val_strata: Group of each row of the validation split.
        n_train: Number of rows to train on; None for all.
        n_val: Number of rows to validate on; None for all.
        seed: Seed of the subsets.

    Returns:
        The positions of the training rows and of the validation rows, each ascending in its split.

    Raises:
        UserError: If a split is too small.
    """
    check_sizes(len(strata), None, n_train, n_val, None, len(val_strata))
    training = stratified_order(strata, seed, Draw.TRAINING)[:n_train]
    return np.sort(training), np.sort(stratified_order(val_strata, seed, Draw.VALIDATION)[:n_val])


def draw_test(strata: Strata, n_test: int | None, seed: int) -> Positions:
    """Draws the test rows.

    Args:
        strata: Group of each row of the test split.
        n_test: Number of rows to test on; None for all.
        seed: Seed of the subsets.

    Returns:
        The positions of the test rows, ascending.

    Raises:
        UserError: If the split is too small.
    """
    check_sizes(None, len(strata), None, None, n_test)
    return np.sort(stratified_order(strata, seed, Draw.TEST)[:n_test])


def check_sizes(
    training_rows: int | None,
    test_rows: int | None,
    n_train: int | None,
    n_val: int | None,
    n_test: int | None,
    validation_rows: int | None = None,
) -> None:
    """Checks that the splits have as many rows as the settings need; one error names all that are too small.

    Args:
        training_rows: Number of rows of the training split; None skips its check.
        test_rows: Number of rows of the test split; None skips its check.
        n_train: Number of rows to train on; None for all that validation leaves.
        n_val: Number of rows to validate on; None for 1,000, or a tenth of the split if that is less.
        n_test: Number of rows to test on; None for all.
        validation_rows: Number of rows of the validation split; None if validation is drawn from the training split.

    Raises:
        UserError: If a split has too few rows.
    """
    lacking: list[str] = []
    mends: list[Part] = []
    shared = None if validation_rows is not None else training_rows
    alone = (
        ("training", training_rows if shared is None else None, "n_train", n_train),
        ("validation", validation_rows, "n_val", n_val),
        ("test", test_rows, "n_test", n_test),
    )
    if shared is not None and _held(shared, n_val) + (n_train or 1) > shared:
        wanted = "at least 1" if n_train is None else f"{n_train:,}"
        lacking.append(
            f"the training split has {shared:,} rows, and n_train {wanted} and"
            f" n_val {_held(shared, n_val):,} are asked for"
        )
        without_val = _held(shared, n_val) >= shared
        mends += [Setting("data.n_val", None), " for a tenth"] if without_val else [Setting("data.n_train", None)]
    for split, rows, name, asked in alone:
        if rows is not None and asked is not None and asked > rows:
            lacking.append(f"the {split} split has {rows:,} rows, and {name} {asked:,} is asked for")
            mends += [" ", Setting(f"data.{name}", None)] if mends else [Setting(f"data.{name}", None)]
    if lacking:
        end = "" if mends[-1] == " for a tenth" else " for all there are"
        raise UserError(f"{'; '.join(lacking)}: say fewer, or ", *mends, end)


def _held(rows: int, n_val: int | None) -> int:
    return min(1000, max(1, rows // 10)) if n_val is None else n_val
