"""Unpadded batches of whole reviews, each a pure function of seed and step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from pretraining.bpe import BOS, EOS, MODEL_MAX_LENGTH, PAD

# What is left of a review after cutting is worth a row of its own from this length on.
_SHORTEST_REST = 8


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed out of a run's seed and what it is to be used for."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Ticks(IterableDataset[int]):
    """Endless stand-in for a data set: the batches are cut where the tokens lie, on the device."""

    def __iter__(self) -> Iterator[int]:
        """Counts up for ever."""
        tick = 0
        while True:
            yield tick
            tick += 1


class Batch(NamedTuple):
    """The reviews of a step, one after another.

    Args:
        tokens: token ids, each review between `<s>` and `</s>`, shape (T,).
        positions: RoBERTa's position ids, which start anew with each review, shape (T,).
        review: the number of a token's review within the batch, shape (T,).
        boundaries: where the reviews begin, then T up to the end, int32, shape (N + 1,): the same N for every
            batch, so that what was compiled for one fits all.
    """

    tokens: Tensor
    positions: Tensor
    review: Tensor
    boundaries: Tensor


class ReviewBatches:
    """Batches as fine-tuning will see them: a row is one review from its `<s>` on, or a piece of a long one.

    No row holds two reviews, so that `<s>` stands for something; no batch holds padding. Every epoch has another
    order, every other epoch cuts the long reviews in other places. Nothing is stored between steps: a resumed run
    gets the very same batches.

    Args:
        tokens: the reviews' token ids, each closed by `</s>`, shape (number of tokens,).
        seq: tokens of a row at most, special ones included.
        batch: a step holds `batch * seq` tokens.
        long_every: in every so many-th epoch the rows may be twice as long, so that the later positions are
            learned too; 0 for never.
        seed: decides order and cuts.
        device: where the batches are wanted.

    Raises:
        ValueError: there are too few tokens for one batch.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.uint16],
        seq: int,
        batch: int,
        long_every: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.tokens = tokens
        self.seq = seq
        self.size = batch * seq
        self.long_every = long_every if 2 * seq <= MODEL_MAX_LENGTH else 0
        self.longest = 2 * seq if self.long_every else seq
        self.seed = seed
        self.device = device or torch.device("cpu")
        ends = np.flatnonzero(tokens == EOS)
        self._starts = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64)
        self._lengths = ends - self._starts
        # Every epoch has at least these tokens: with the longest rows there are the fewest separators, and the
        # end of a long review may be too short for a row.
        rows = np.maximum(1, self._lengths // (self.longest - 2))
        lost = _SHORTEST_REST * (self._lengths > seq - 2)
        self.steps_per_epoch = int((self._lengths - lost + 2 * rows).sum() // self.size)
        # A row is some hundred tokens long; should there ever be more rows than this, the last ones share one.
        self.most = min(self.size // 3, max(self.size // 48, 64))
        if self.steps_per_epoch < 1:
            raise ValueError(f"{len(tokens)} tokens do not fill one batch of {batch} x {seq}: choose a smaller batch")
        self._content = torch.from_numpy(tokens.astype(np.int32)).to(self.device)
        self._epoch = -1
        self._batches: tuple[Tensor, ...] = ()

    def rows(self, step: int) -> Batch:
        """The batch of a step."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            # Freed first: an epoch's batches are large, and two of them need not lie on the device.
            self._batches = ()
            self._epoch, self._batches = epoch, self._build(epoch)
        tokens, positions, review, boundaries = (part[index] for part in self._batches)
        return Batch(tokens.long(), positions.long(), review.long(), boundaries)

    def _cut(self, epoch: int, room: int, dice: np.random.Generator) -> tuple[npt.NDArray[np.int64], ...]:
        """Where the epoch's rows start in `tokens`, and how long they are, in a new order."""
        long = self._lengths > room
        first = np.minimum(self._lengths, room)
        if epoch % 2:
            offset = dice.integers(2 * _SHORTEST_REST, max(room, 2 * _SHORTEST_REST + 1), len(first))
            first = np.where(long, np.minimum(offset, room), first)
        starts, lengths = [self._starts], [first]
        done, left = first.copy(), np.flatnonzero(self._lengths - first > _SHORTEST_REST)
        while len(left):
            taken = np.minimum(self._lengths[left] - done[left], room)
            starts.append(self._starts[left] + done[left])
            lengths.append(taken)
            done[left] += taken
            left = left[self._lengths[left] - done[left] > _SHORTEST_REST]
        start, length = np.concatenate(starts), np.concatenate(lengths)
        order = dice.permutation(len(start))
        return start[order], length[order]

    def _build(self, epoch: int) -> tuple[Tensor, ...]:
        """All batches of an epoch: tokens, positions, reviews, boundaries, all int32, laid out where they are used."""
        dice = np.random.default_rng(derived_seed(self.seed, "order", epoch))
        long = self.long_every and epoch % self.long_every == self.long_every - 1
        cuts = self._cut(epoch, (2 * self.seq if long else self.seq) - 2, dice)
        starts, lengths = (torch.from_numpy(part).to(self.device) for part in cuts)
        widths = lengths + 2
        ends = widths.cumsum(0)
        count = int(ends[-1])
        steps = min(self.steps_per_epoch, count // self.size)
        used = steps * self.size
        rows = torch.arange(len(starts), device=self.device)
        row = rows.repeat_interleave(widths, output_size=count)
        place = torch.arange(count, device=self.device) - (ends - widths)[row]
        # Before a row's first token stands another's last one, or nothing: overwritten in the next two lines.
        tokens = self._content[(starts[row] + place - 1).clamp(0, len(self._content) - 1)]
        tokens[ends - widths] = BOS
        tokens[ends - 1] = EOS
        tokens, place, row = tokens[:used], place[:used], row[:used]
        begins = torch.ones(used, dtype=torch.bool, device=self.device)
        begins[1:] = row[1:] != row[:-1]
        # A row that two batches share is two rows; the second keeps its positions and has no <s>.
        begins[:: self.size] = True
        numbers = (begins.cumsum(0) - 1).view(steps, self.size)
        review = (numbers - numbers[:, :1]).clamp(max=self.most - 1)
        where = begins.nonzero().flatten()
        batch, column = where // self.size, review.flatten()[where]
        # The rows beyond the most share the last one's number, and begin where the first of them does.
        boundaries = torch.full((steps, self.most + 1), self.size, dtype=torch.int32, device=self.device)
        boundaries.view(-1).scatter_reduce_(
            0, batch * (self.most + 1) + column, (where % self.size).to(torch.int32), "amin"
        )
        positions = (place + PAD + 1).to(torch.int32).view(steps, self.size)
        return tokens.view(steps, self.size), positions, review.to(torch.int32), boundaries
