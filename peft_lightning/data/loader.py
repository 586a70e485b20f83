"""A data loader that resumes within an epoch: its position among the batches is saved in checkpoints."""

from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler
from peft_lightning.errors import UserError


class LoaderState(TypedDict):
    """A position in the order of the batches, in plain numbers that ``torch.load(weights_only=True)`` reads.

    Attributes:
        seed: Seed of the order.
        epoch: Number of the epoch, from 0.
        batches: Number of that epoch's batches that the training loop has received.
        batches_per_epoch: Number of batches in an epoch.
    """

    seed: int
    epoch: int
    batches: int
    batches_per_epoch: int


class ResumableDataLoader(DataLoader[Any]):
    """A loader that goes on where a checkpoint was written, within an epoch or at its end, with or without workers.

    It counts the batches that the training loop has received, not those that workers have fetched ahead. It does not
    draw from a global random number generator.

    Args:
        dataset: The examples.
        batch_sampler: Makes the order from a seed and the epoch.
        collate_fn: Makes a batch of examples.
        num_workers: Number of processes that load; 0 loads in the training process.
        pin_memory: Whether batches are copied to page-locked memory, from which copies to a GPU are faster.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_sampler: LengthGroupedBatchSampler,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batch_sampler,
            collate_fn=collate_fn,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            generator=torch.Generator().manual_seed(batch_sampler.seed),
        )
        self._order = batch_sampler
        self._epoch = 0
        self._received = 0
        self._resumes_within: int | None = None
        self._loaded: LoaderState | None = None

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the next iteration yields, for loops other than Lightning's."""
        self._order.set_epoch(epoch)

    def positions(self) -> list[list[int]]:
        """Returns the positions of the examples of each of the epoch's batches, received ones included."""
        return self._order.order(self._order.epoch)

    def batch_sizes(self) -> list[list[int]]:
        """Returns the number of examples in each of the epoch's batches, received ones included, for each process."""
        return self._order.sizes(self._order.epoch)

    def __iter__(self) -> "_BaseDataLoaderIter":
        # A generator: nothing in it runs before the first batch is requested. When Lightning resumes, it calls iter()
        # first and set_epoch() afterwards, so the epoch is known only then.
        return self._batches()  # type: ignore[return-value]

    def _batches(self) -> Iterator[Any]:
        self._epoch = self._order.epoch
        # The position in a checkpoint holds within its own epoch. If limit_train_batches ended that epoch early,
        # Lightning goes on with the next epoch, which starts at its first batch.
        if self._resumes_within != self._epoch:
            self._received = 0
        self._resumes_within = self._loaded = None
        self._order.first_batch = self._received
        for batch in super().__iter__():
            self._received += 1
            yield batch

    def state_dict(self) -> LoaderState:
        """Returns the position in the order: the batches received, not those fetched ahead."""
        if self._loaded is not None:
            # A run that goes on at an epoch's end may save once more before the next one, as it would have there.
            return self._loaded
        return LoaderState(
            seed=self._order.seed,
            epoch=self._epoch,
            batches=self._received,
            batches_per_epoch=len(self),
        )

    def load_state_dict(self, state: LoaderState) -> None:
        """Goes on from a position in the order.

        Args:
            state: What ``state_dict`` returned.

        Raises:
            UserError: If the checkpoint's epoch has another number of batches.
        """
        if state["batches_per_epoch"] != len(self):
            raise UserError(
                f"the checkpoint was written with {state['batches_per_epoch']} batches an epoch and this "
                f"configuration has {len(self)}: resume with the run's own config.yaml"
            )
        ended = state["batches"] == state["batches_per_epoch"]
        self._epoch = state["epoch"] + ended
        self._received = 0 if ended else state["batches"]
        self._resumes_within = self._epoch
        self._loaded = LoaderState(**state)
        self._order.seed = state["seed"]
        self._order.set_epoch(self._epoch)
