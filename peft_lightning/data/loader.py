"""A loader whose place in the order of the batches is part of a checkpoint."""

from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler
from peft_lightning.errors import UserError


class LoaderState(TypedDict):
    """A place in the order of the batches, in plain numbers that `torch.load(weights_only=True)` reads.

    Attributes:
        seed: the seed of the order.
        epoch: number of the epoch, from 0.
        batches: batches of that epoch that the training loop has received.
        batches_per_epoch: batches in an epoch.
    """

    seed: int
    epoch: int
    batches: int
    batches_per_epoch: int


class ResumableDataLoader(DataLoader[Any]):
    """A loader that goes on where a checkpoint left it, in mid-epoch and at an epoch's end, with or without workers.

    It counts the batches that the training loop has received, not those that workers fetched ahead, and draws
    from no global random number generator.

    Args:
        dataset: the examples.
        batch_sampler: makes the order out of a seed and the epoch.
        collate_fn: makes a batch out of examples.
        num_workers: processes that load; 0 loads in the training process.
        pin_memory: copy batches to page-locked memory, from which a GPU fetches faster.
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

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives, for loops other than Lightning's."""
        self._order.set_epoch(epoch)

    def positions(self) -> list[list[int]]:
        """Returns the positions of the examples of each of the epoch's batches, those received among them."""
        return self._order.order(self._order.epoch)

    def __iter__(self) -> "_BaseDataLoaderIter":
        # A generator: nothing of it runs before the first batch is asked for. When Lightning resumes it calls
        # iter() first and set_epoch() after, so only then is it known which epoch is meant.
        return self._batches()  # type: ignore[return-value]

    def _batches(self) -> Iterator[Any]:
        self._epoch = self._order.epoch
        # The place in a checkpoint holds within its own epoch: where limit_train_batches had ended that early,
        # Lightning asks for the next one, which starts afresh.
        if self._resumes_within != self._epoch:
            self._received = 0
        self._resumes_within = None
        self._order.first_batch = self._received
        for batch in super().__iter__():
            self._received += 1
            yield batch

    def state_dict(self) -> LoaderState:
        """The place in the order: what has been received, whatever has been fetched."""
        return LoaderState(
            seed=self._order.seed,
            epoch=self._epoch,
            batches=self._received,
            batches_per_epoch=len(self),
        )

    def load_state_dict(self, state: LoaderState) -> None:
        """Go on from a place in the order.

        Args:
            state: what `state_dict` returned.

        Raises:
            UserError: an epoch of that order had another number of batches.
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
        self._order.seed = state["seed"]
        self._order.set_epoch(self._epoch)
