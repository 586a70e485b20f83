"""Batch samplers: batches of similar length for training, the longest first for evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

# Sorting within 50 batches at a time leaves little padding and still mixes the examples anew in every epoch.
_BATCHES_SORTED_TOGETHER = 50


class LengthGroupedBatchSampler(Sampler[list[int]]):
    """Batches of examples of similar length, in an order that depends on the seed and the epoch alone.

    The examples are shuffled, sorted by length within groups of 50 batches, and the batches are shuffled again.
    Every example comes once in an epoch. Several processes get the same number of batches each; a few batches may be
    halved for that.

    Args:
        lengths: Length of each example, in tokens.
        batch_size: Examples in a batch; the last batch that is cut may be smaller.
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
            The positions of the examples of each batch of this process.
        """
        return self._of_all(epoch)[self._rank :: self._world_size]

    def sizes(self, epoch: int) -> list[list[int]]:
        """Returns the number of examples in each batch of one epoch, for each process.

        Args:
            epoch: Number of the epoch, from 0.
        """
        key = (self.seed, epoch)
        if self._sizes is None or self._sizes[0] != key:
            counts = [len(batch) for batch in self._of_all(epoch)]
            self._sizes = (key, [counts[rank :: self._world_size] for rank in range(self._world_size)])
        return self._sizes[1]

    def _of_all(self, epoch: int) -> list[list[int]]:
        """Returns the batches of one epoch of all processes, which take turns."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        shuffled = generator.permutation(len(self._lengths))
        size = self._batch_size
        batches: list[list[int]] = []
        for start in range(0, len(shuffled), size * _BATCHES_SORTED_TOGETHER):
            group = shuffled[start : start + size * _BATCHES_SORTED_TOGETHER]
            by_length = group[np.argsort(-self._lengths[group], kind="stable")].tolist()
            batches += [by_length[i : i + size] for i in range(0, len(by_length), size)]
        while len(batches) % self._world_size:
            largest = max(range(len(batches)), key=lambda i: len(batches[i]))
            whole = batches[largest]
            # A batch of one example cannot be halved: it comes twice, or a process would wait for the others for ever.
            half = (len(whole) + 1) // 2
            batches[largest] = whole[:half]
            batches.append(whole[half:] or whole)
        return [batches[i] for i in generator.permutation(len(batches))]

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.order(self.epoch)[self.first_batch :]

    def __len__(self) -> int:
        batches = -(-len(self._lengths) // self._batch_size)
        return -(-batches // self._world_size)


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
