import numpy as np
import pytest

from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler, LengthSortedBatchSampler

LENGTHS = np.random.default_rng(0).integers(8, 257, 1003).tolist()


def test_every_example_comes_once_and_the_partial_batch_is_kept() -> None:
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, seed=1)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(1003))
    assert sorted(map(len, batches)) == [3] + [8] * 125
    assert len(sampler) == 126


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first != second
    assert list(LengthGroupedBatchSampler(LENGTHS, 8, seed=2)) != first
    assert LengthGroupedBatchSampler(LENGTHS, 8, seed=1).order(1) == second


def test_grouping_leaves_little_padding_and_mixes_lengths_over_the_epoch() -> None:
    batches = list(LengthGroupedBatchSampler(LENGTHS, 8, seed=1))
    width = [max(LENGTHS[i] for i in batch) for batch in batches]
    padded = sum(w * len(batch) for w, batch in zip(width, batches, strict=True))
    assert sum(LENGTHS) / padded > 0.97
    assert abs(np.corrcoef(range(len(width)), width)[0, 1]) < 0.3


def test_which_examples_share_a_batch_changes_with_the_epoch() -> None:
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, seed=1)
    pairs = [{frozenset(batch) for batch in sampler.order(epoch)} for epoch in (0, 1)]
    assert len(pairs[0] & pairs[1]) < 5


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("n", [1003, 96, 7])
def test_processes_share_the_examples_in_equally_many_batches(n: int, world_size: int) -> None:
    shares = [
        LengthGroupedBatchSampler(LENGTHS[:n], 8, seed=1, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    batches = [list(share) for share in shares]
    assert sorted(i for share in batches for batch in share for i in batch) == list(range(n))
    assert {len(share) for share in batches} == {len(shares[0])}


def test_fewer_examples_than_processes_still_give_each_a_batch() -> None:
    shares = [list(LengthGroupedBatchSampler([5, 6], 8, 1, rank, 3)) for rank in range(3)]
    assert [len(share) for share in shares] == [1, 1, 1]


@pytest.mark.parametrize(("n", "world_size"), [(1003, 2), (97, 4), (33, 4)])
def test_processes_deal_out_the_batches_that_one_process_has(n: int, world_size: int) -> None:
    alone = LengthGroupedBatchSampler(LENGTHS[:n], 8 * world_size, seed=1).order(3)
    samplers = [LengthGroupedBatchSampler(LENGTHS[:n], 8, 1, rank, world_size) for rank in range(world_size)]
    sizes = samplers[0].sizes(3)
    dealt = zip(*(zip(s.order(3), own, strict=True) for s, own in zip(samplers, sizes, strict=True)), strict=True)
    for whole, parts in zip(alone, dealt, strict=True):
        # A process may get more than its share: something, where a batch has fewer examples than processes.
        assert sorted(row for rows, own in parts for row in rows[:own]) == sorted(whole)
        assert all(rows for rows, _ in parts)


@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_takes_the_longest_first_and_each_once(world_size: int) -> None:
    shares = [list(LengthSortedBatchSampler(LENGTHS, 32, rank, world_size)) for rank in range(world_size)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(1003))
    assert len({len(share) for share in shares}) == 1
    assert max(len(batch) for share in shares for batch in share) <= 32
    flat = [LENGTHS[i] for batch in shares[0] for i in batch]
    assert flat == sorted(flat, reverse=True)


def test_what_a_seed_orders_does_not_change_between_releases() -> None:
    """Recorded figures name a seed: it must go on meaning this order."""
    lengths = [3 + (7 * i) % 11 for i in range(14)]
    expected = [[0, 11], [3, 6, 9, 12], [13, 2, 5, 8], [1, 4, 7, 10]]
    assert LengthGroupedBatchSampler(lengths, 4, seed=42).order(2) == expected
