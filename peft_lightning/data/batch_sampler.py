"""Batch samplers: batches of similar length for training, the longest first for evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Positions = NDArray[np.int64]

# Sorting within 50 batches at a time leaves little padding and still mixes the examples anew in every epoch.
_BATCHES_SORTED_TOGETHER = 50


class LengthGroupedBatchSampler(Sampler[list[int]]):
    """Batches of examples of similar length, in an order that depends on the seed and the epoch alone.

    The examples are shuffled, sorted by length within groups of 50 batches, and the batches are shuffled again.
    Every example comes once in an epoch. Several processes deal out each of the batches that one process would have at
    their common batch size, so that they take the same steps.

    Args:
        lengths: Length of each example, in tokens.
        batch_size: Examples in a batch of one process; the last batch that is cut may be smaller.
        seed: Seed of the order.
        rank: Number of this process, from 0.
        world_size: Number of processes that share the examples.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        self.seed = seed
        self.epoch = 0
        self.first_batch = 0
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size
        self._sizes: tuple[tuple[int, int], list[list[int]]] | None = None

    @property
    def sampler(self) -> "LengthGroupedBatchSampler":
        """This object: Lightning looks for ``set_epoch`` on the sampler within the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose order the next iteration has."""
        self.epoch = epoch

    def order(self, epoch: int) -> list[list[int]]:
        """Returns the batches of one epoch.

        Args:
            epoch: Number of the epoch, from 0.

        Returns:
            The positions of the examples of each batch of this process. Of a batch with fewer examples than processes
            the last of these get its first example, which ``sizes`` does not count.
        """
        rows, starts, ends = self._cuts(epoch)
        return [self._own(rows[start:end]) for start, end in zip(starts, ends, strict=True)]

    def sizes(self, epoch: int) -> list[list[int]]:
        """Returns the number of examples in each batch of one epoch, for each process.

        Args:
            epoch: Number of the epoch, from 0.
        """
        key = (self.seed, epoch)
        if self._sizes is None or self._sizes[0] != key:
            _, starts, ends = self._cuts(epoch)
            # Of n examples that are dealt out one by one, a process gets every world_size-th from its own number on.
            counts = [-(-(ends - starts - rank) // self._world_size) for rank in range(self._world_size)]
            self._sizes = (key, [np.maximum(of_rank, 0).tolist() for of_rank in counts])
        return self._sizes[1]

    def _own(self, batch: Positions) -> list[int]:
        """Returns this process's share of a batch, which all processes have."""
        share: list[int] = batch[self._rank :: self._world_size].tolist()
        return share or batch[:1].tolist()

    def _cuts(self, epoch: int) -> tuple[Positions, Positions, Positions]:
        """Returns all positions in an order, and where the batches that processes share start and end in it."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        rows = generator.permutation(len(self._lengths))
        size = self._batch_size * self._world_size
        for start in range(0, len(rows), size * _BATCHES_SORTED_TOGETHER):
            group = rows[start : start + size * _BATCHES_SORTED_TOGETHER]
            group[:] = group[np.argsort(-self._lengths[group], kind="stable")]
        starts = np.arange(0, len(rows), size)
        ends = np.minimum(starts + size, len(rows))
        mixed = generator.permutation(len(starts))
        return rows, starts[mixed], ends[mixed]

    def __iter__(self) -> Iterator[list[int]]:
        rows, starts, ends = self._cuts(self.epoch)
        for start, end in zip(starts[self.first_batch :], ends[self.first_batch :], strict=True):
            yield self._own(rows[start:end])

    def __len__(self) -> int:
        return -(-len(self._lengths) // (self._batch_size * self._world_size))


class LengthSortedBatchSampler(Sampler[list[int]]):
    """Batches for evaluation, the longest examples first, always in the same order.

    Several processes share the examples and get the same number of batches each. No example comes twice.

    Args:
        lengths: Length of each example, in tokens.
        batch_size: Largest number of examples in a batch.
        rank: Number of this process, from 0.
        world_size: Number of processes that share the examples.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
        if world_size == 1:
            cuts = np.split(order, range(batch_size, len(order), batch_size))
        else:
            rounds = -(-len(order) // (batch_size * world_size))
            cuts = np.array_split(order, min(rounds * world_size, len(order)))
        self._batches: list[list[int]] = [cut.tolist() for cut in cuts[rank::world_size]]

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._batches

    def __len__(self) -> int:
        return len(self._batches)
