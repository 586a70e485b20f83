"""Packed batches cut from one row of tokens that lies on the device, each a pure function of seed and step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from pretraining.bpe import BOS, EOS, MODEL_MAX_LENGTH


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


class PackedTokens:
    """All tokens in one row; an epoch visits every window of it once, from another starting point each time.

    A window holds two rows of `seq` tokens or one row of `2 * seq`, so that a long step costs as many tokens
    as a short one. Nothing is stored between steps: a resumed run cuts the very same batches.

    Args:
        tokens: token ids, shape (number of tokens,), on the device that trains.
        seq: tokens in a row, special ones included.
        batch: rows of a step.
        long_every: every so many steps the rows are twice as long and half as many, so that the later
            positions are learned too; 0 for never.
        seed: decides the order.

    Raises:
        ValueError: there are too few tokens for one batch.
    """

    def __init__(self, tokens: Tensor, seq: int, batch: int, long_every: int, seed: int) -> None:
        self.tokens = tokens
        self.seq = seq
        self.batch = batch
        self.long_every = long_every if 2 * seq <= MODEL_MAX_LENGTH else 0
        self.seed = seed
        self.window = 2 * seq - 2
        self.windows = (len(tokens) - self.window) // self.window
        self.steps_per_epoch = self.windows // (batch // 2)
        if batch % 2 or self.steps_per_epoch < 1:
            raise ValueError(
                f"{len(tokens)} tokens do not fill one batch of {batch} x {seq}: choose a smaller, even batch"
            )
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long, device=tokens.device)
        self._columns = torch.arange(self.window, device=tokens.device)

    def rows(self, step: int) -> Tensor:
        """The rows of a step.

        Returns:
            token ids, shape (batch, seq), or (batch / 2, 2 seq) for a long step.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            offset = int(torch.randint(self.window, (1,), generator=generator))
            order = torch.randperm(self.windows, generator=generator) * self.window + offset
            self._epoch, self._order = epoch, order.to(self.tokens.device)
        units = self.batch // 2
        starts = self._order[position * units : (position + 1) * units]
        content = self.tokens[starts[:, None] + self._columns].long()
        if not self.long_every or step % self.long_every != self.long_every - 1:
            content = content[:, : 2 * (self.seq - 2)].reshape(self.batch, self.seq - 2)
        return torch.nn.functional.pad(torch.nn.functional.pad(content, (1, 0), value=BOS), (0, 1), value=EOS)
