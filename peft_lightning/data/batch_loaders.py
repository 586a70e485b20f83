"""The loaders of batches to train on, to evaluate and to predict: their order, their width, their processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler, LengthSortedBatchSampler
from peft_lightning.data.examples import PadToLongest, TokenisedReviews
from peft_lightning.data.loader import ResumableDataLoader
from peft_lightning.data.text_windows import TextWindows, collate_to_answer

# A GPU's libraries choose kernels anew for each new width. roberta-base in bf16, batch 8, on one H200: steps 50
# to 100 took 123 ms each without rounding of widths, 33 ms with multiples of 32.
GPU_WIDTH_MULTIPLE = 32


def width_multiple(asked: int | None, on_gpu: bool) -> int:
    """Returns what the width of a batch is rounded up to a multiple of, in tokens.

    Args:
        asked: What the settings say; None for what the device is best at.
        on_gpu: Whether the batches are for a GPU.
    """
    return asked or (GPU_WIDTH_MULTIPLE if on_gpu else 1)


@dataclass(frozen=True)
class BatchLoaders:
    """Makes the loaders of one process.

    Args:
        batch_size: Texts in a training batch.
        eval_batch_size: Texts in a batch to evaluate or to predict.
        num_workers: Processes that prepare batches; 0 prepares them in this process.
        max_length: Tokens that texts are cut to.
        pad_token_id: The id of the padding token.
        windows: Cuts the texts that are answered into windows; None where they have been cut to one length.
        multiple: The width of a batch is rounded up to a multiple of this, in tokens.
        on_gpu: Whether the batches are for a GPU.
        rank: Number of this process.
        world_size: How many processes there are.
    """

    batch_size: int
    eval_batch_size: int
    num_workers: int
    max_length: int
    pad_token_id: int
    windows: TextWindows | None
    multiple: int
    on_gpu: bool
    rank: int
    world_size: int

    @property
    def collate(self) -> PadToLongest:
        """What makes a training batch of examples."""
        return self._collate(None)

    def undivided(self) -> BatchLoaders:
        """Returns the loaders of one process that takes the steps of all of them."""
        return replace(self, batch_size=self.batch_size * self.world_size, rank=0, world_size=1)

    def to_train(self, reviews: TokenisedReviews) -> ResumableDataLoader:
        """Returns batches grouped by length; their order depends on torch's seed and the epoch alone.

        Args:
            reviews: The reviews to train on.
        """
        order = LengthGroupedBatchSampler(
            reviews.lengths, self.batch_size, torch.initial_seed() % 2**64, self.rank, self.world_size
        )
        return ResumableDataLoader(reviews, order, collate_fn=self.collate, **self._processes())

    def to_evaluate(self, reviews: TokenisedReviews) -> DataLoader[Any]:
        """Returns batches of the same number of texts, the longest first.

        Args:
            reviews: The reviews to validate or test on.
        """
        return DataLoader(
            reviews,
            batch_sampler=LengthSortedBatchSampler(reviews.lengths, self.eval_batch_size, self.rank, self.world_size),
            persistent_workers=self.num_workers > 0,
            # Every iteration draws a seed for the workers. The global generator must not serve: dropout uses it.
            generator=torch.Generator(),
            collate_fn=self._collate(self.windows),
            **self._processes(),
        )

    def to_predict(self, reviews: TokenisedReviews) -> DataLoader[Any]:
        """Returns batches in the order of the reviews.

        Args:
            reviews: The reviews to predict.
        """
        return DataLoader(
            reviews,
            batch_size=self.eval_batch_size,
            generator=torch.Generator(),
            collate_fn=self._collate(self.windows),
            **self._processes(),
        )

    def _collate(self, windows: TextWindows | None) -> PadToLongest:
        return collate_to_answer(windows, self.eval_batch_size, self.pad_token_id, self.multiple, self.max_length)

    def _processes(self) -> dict[str, Any]:
        return {"num_workers": self.num_workers, "pin_memory": self.on_gpu}
