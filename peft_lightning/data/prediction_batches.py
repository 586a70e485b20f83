"""Batches to predict: windows of a file, within each of which reviews of similar length share a batch."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.examples import PadToLongest
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources.text_pairs import TextPairs, Texts, digest_of_texts

# A window is so many times eval_batch_size, 4,096 rows by default: of texts of mixed lengths, 2 % of the tokens of its
# batches are padding, and nothing is gained by more.
_BATCHES_SORTED_TOGETHER = 128
# Short reviews share a batch until it has as many tokens as eval_batch_size of the longest, but at most so many times
# that number of reviews: several devices need several batches in a window.
_MOST = 8
NO_ROW = -1
"""The index of a row that is there for its process to have a batch, and has no answer."""


@dataclass(frozen=True)
class Windows:
    """The texts of a file in windows, whose size depends on settings alone.

    Args:
        texts: The texts.
        size: Number of texts in each window but the last.
    """

    texts: Texts
    size: int

    @classmethod
    def of(cls, texts: Texts, eval_batch_size: int) -> "Windows":
        """Makes the windows for a batch size."""
        return cls(texts, _BATCHES_SORTED_TOGETHER * eval_batch_size)

    def __len__(self) -> int:
        return -(-len(self.texts) // self.size)

    def rows(self, window: int) -> range:
        """Returns the rows of a window."""
        return range(window * self.size, min((window + 1) * self.size, len(self.texts)))

    def of_row(self, row: int) -> int:
        """Returns the window that a row is in."""
        return row // self.size

    def content(self, window: int) -> Texts:
        """Returns the texts of a window."""
        rows = self.rows(window)
        if isinstance(self.texts, TextPairs):
            return self.texts.between(rows.start, rows.stop)
        return self.texts[rows.start : rows.stop]

    def digest(self, window: int) -> bytes:
        """Hashes the texts of a window."""
        return hashlib.sha256(digest_of_texts(self.content(window))).digest()[:16]


@dataclass(frozen=True)
class Share:
    """Which batches a process computes.

    Args:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        windows_done: Number of windows, from the first, whose rows all have answers.
        rows_done: Rows of the next window that have answers, whole batches of them.
    """

    rank: int = 0
    world_size: int = 1
    windows_done: int = 0
    rows_done: frozenset[int] = frozenset()


class PredictionBatches:
    """Tokenises and batches a file window by window, while it is predicted.

    Which reviews share a batch depends on their window and on settings, not on the number of processes nor on where a
    prediction goes on, so that answers are the same to the bit.

    Args:
        windows: The texts.
        tokeniser: Makes tokens of them.
        collate: Pads a batch.
        batch_size: Number of the longest reviews in a batch.
        max_length: Number of tokens that reviews are cut to.
        share: Returns this process's share; called when the iteration starts.
    """

    def __init__(
        self,
        windows: Windows,
        tokeniser: ReviewTokeniser,
        collate: PadToLongest,
        batch_size: int,
        max_length: int,
        share: Callable[[], Share] = Share,
    ) -> None:
        self._windows = windows
        self._tokeniser = tokeniser
        self._collate = collate
        self._batch_size = batch_size
        self._max_length = max_length
        self._share = share

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        share = self._share()
        number, batch = 0, None
        for examples in self._batches(share):
            if number % share.world_size == share.rank or batch is None:
                batch = self._collate(examples)
            if number % share.world_size == share.rank:
                yield batch
            number += 1
        if batch is not None and share.rank >= number % share.world_size > 0:
            # The processes bring their answers together after each of their batches.
            yield batch | {"index": torch.full_like(batch["index"], NO_ROW)}

    def _batches(self, share: Share) -> Iterator[list[Any]]:
        waiting = range(share.windows_done, len(self._windows))
        windows = ((self._windows.rows(window).start, self._windows.content(window)) for window in waiting)
        for reviews in self._tokeniser.tokenise_in_turn(windows):
            for places in self._cut(np.asarray(reviews.lengths)):
                examples = [reviews[place] for place in places]
                if examples[0]["index"] not in share.rows_done:
                    yield examples

    def _cut(self, lengths: NDArray[np.int64]) -> Iterator[list[int]]:
        """Cuts a window into batches by length, the longest first."""
        order = np.argsort(-lengths, kind="stable")
        tokens = self._batch_size * self._max_length
        start = 0
        while start < len(order):
            width = self._collate.width(int(lengths[order[start]]))
            count = min(max(1, tokens // width), _MOST * self._batch_size)
            yield order[start : start + count].tolist()
            start += count
