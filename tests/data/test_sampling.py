import numpy as np
import pytest
import torch

from peft_lightning.data.sampling import (
    Draw,
    draw_apart,
    draw_test,
    draw_training_and_validation,
    hold_out,
    stratified_order,
)
from peft_lightning.errors import UserError

LABELS = np.array([0] * 700 + [1] * 250 + [2] * 50)


@pytest.mark.parametrize("n", [1, 7, 100, 333, 999, 1000])
def test_every_prefix_has_the_classes_in_proportion(n: int) -> None:
    chosen = stratified_order(LABELS, 3, Draw.TRAINING)[:n]
    assert len(set(chosen.tolist())) == n
    counts = np.bincount(LABELS[chosen], minlength=3)
    assert np.abs(counts - n * np.array([0.7, 0.25, 0.05])).max() < 1


def test_the_studys_subset_is_balanced_exactly() -> None:
    labels = np.repeat([0, 1], 12500)
    train, val = draw_training_and_validation(labels, 3000, None, 42)
    assert np.bincount(labels[train]).tolist() == [1500, 1500]
    assert np.bincount(labels[val]).tolist() == [500, 500]


def test_validation_stays_when_n_train_changes_and_training_sets_are_nested() -> None:
    small, val = draw_training_and_validation(LABELS, 100, 80, 42)
    large, same_val = draw_training_and_validation(LABELS, 300, 80, 42)
    rest, still_same_val = draw_training_and_validation(LABELS, None, 80, 42)
    assert val.tolist() == same_val.tolist() == still_same_val.tolist()
    assert set(small) < set(large) < set(rest)
    assert not set(rest) & set(val)
    assert (len(small), len(large), len(rest)) == (100, 300, 920)


def test_the_seed_picks_the_rows_and_the_global_generators_do_not() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    first = draw_test(LABELS, 50, 1).tolist()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]
    np.random.seed(5)
    assert draw_test(LABELS, 50, 1).tolist() == first
    assert draw_test(LABELS, 50, 2).tolist() != first


def test_what_a_seed_picks_does_not_change_between_releases() -> None:
    """Recorded figures name a seed: it must go on meaning these rows."""
    labels = np.arange(40) % 2
    train, val = draw_training_and_validation(labels, 6, 4, 42)
    assert (train.tolist(), val.tolist()) == ([1, 2, 8, 15, 24, 27], [11, 12, 21, 30])
    assert draw_test(labels, 5, 42).tolist() == [8, 25, 28, 29, 39]
    assert hold_out(labels, 4, 42)[1].tolist() == [7, 18, 32, 39]


def test_of_two_splits_each_is_drawn_by_itself() -> None:
    train, val = draw_apart(LABELS, LABELS[:300], 100, None, 42)
    more, fewer = draw_apart(LABELS, LABELS[:300], 300, 60, 42)
    assert (np.bincount(LABELS[train]).tolist(), len(val), len(fewer)) == ([70, 25, 5], 300, 60)
    assert set(train) < set(more)
    with pytest.raises(UserError, match=r"training split has 1,000 rows, and n_train 1,001 .* n_train=None"):
        draw_apart(LABELS, LABELS[:300], 1001, None, 42)


def test_validation_takes_a_tenth_of_a_small_split() -> None:
    assert [len(part) for part in draw_training_and_validation(LABELS[:300], None, None, 0)] == [270, 30]
    assert [len(part) for part in draw_training_and_validation(np.array([0, 1, 1]), None, None, 0)] == [2, 1]


@pytest.mark.parametrize(
    ("n_train", "n_val", "message"),
    [
        (1001, None, "1,000 rows, and n_train 1,001 and n_val 100 are asked for.*n_train=None"),
        (950, 51, "n_train 950 and n_val 51 are asked for: say fewer, or n_train=None"),
        (950, None, "n_train 950 and n_val 100 are asked for"),
        (None, 1000, "n_train at least 1 and n_val 1,000 are asked for: say fewer, or n_val=None for a tenth$"),
    ],
)
def test_more_than_there_is_names_the_numbers(n_train: int | None, n_val: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_training_and_validation(LABELS, n_train, n_val, 0)


def test_more_test_rows_than_there_are() -> None:
    with pytest.raises(UserError, match=r"10 rows, and n_test 11 is asked for: say fewer, or n_test=None"):
        draw_test(LABELS[:10], 11, 0)


def test_hold_out_is_stratified_and_parts_the_rows() -> None:
    remaining, held = hold_out(LABELS, 200, 7)
    assert np.bincount(LABELS[held]).tolist() == [140, 50, 10]
    assert sorted([*remaining, *held]) == list(range(1000))
