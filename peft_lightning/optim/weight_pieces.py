"""Pieces of large weights: parts of them that are widened, updated and rounded together.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bitsandbytes.optim.optimizer import Optimizer2State
from torch import Tensor

from peft_lightning.optim.batched_update import Member
from peft_lightning.optim.eight_bit_state import BLOCK, MOMENTS, SCALES


@dataclass
class Part:
    """A part of a weight that fits a piece: its place, and views of the state that belongs to it."""

    member: Member
    place: slice
    state: dict[str, Any]

    @property
    def size(self) -> int:
        """The number of values."""
        size: int = self.place.stop - self.place.start
        return size


@dataclass
class Cut:
    """The pieces of some weights, and the state that they are views of."""

    states: list[tuple[Tensor, ...]]
    pieces: list[list[Part]]

    def holds(self, states: list[tuple[Tensor, ...]]) -> bool:
        """Tells whether the state is the same: a checkpoint may replace it."""
        return len(states) == len(self.states) and all(
            mine is now
            for one, other in zip(self.states, states, strict=True)
            for mine, now in zip(one, other, strict=True)
        )


def pieces_of(optimizer: Optimizer2State, members: Sequence[Member], most: int) -> Iterator[list[Part]]:
    """Yields the parts of weights that go through together, each but a weight's last of whole blocks.

    Args:
        optimizer: The optimiser, with its state of the weights.
        members: The weights.
        most: The most values in a piece; whole blocks.
    """
    piece: list[Part] = []
    held = 0
    for member in members:
        p = member[1]
        for start in range(0, p.numel(), most):
            place = slice(start, min(start + most, p.numel()))
            part = Part(member, place, part_of(optimizer.state[p], place))
            # Kernels read whole vectors, so what follows a part that is not whole blocks has to start anew.
            if piece and (held + part.size > most or held % BLOCK):
                yield piece
                piece, held = [], 0
            piece.append(part)
            held += part.size
    if piece:
        yield piece


def part_of(state: dict[str, Any], part: slice) -> dict[str, Any]:
    """Returns the state for a part of a parameter, as views: the update of a part changes the whole state.

    Args:
        state: The state of the parameter.
        part: The part, which starts with a block.
    """
    piece = dict(state)
    for key in MOMENTS:
        piece[key] = state[key].view(-1)[part]
        if getattr(state[key], "is_paged", False):
            piece[key].is_paged = True
            piece[key].page_deviceid = state[key].page_deviceid
    for key in SCALES:
        if key in state:
            piece[key] = state[key][part.start // BLOCK : -(-part.stop // BLOCK)]
    return piece
