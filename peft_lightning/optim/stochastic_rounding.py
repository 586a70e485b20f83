"""bitsandbytes' 8-bit AdamW for bf16 weights, which are rounded up or down at random and are right on average.

Two neighbours in bf16 are half a percent apart, and a step of AdamW at 5e-5 is smaller than half of that for most
weights: rounded to the nearest, they would never move.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.optim.adamw import AdamW8bit
from bitsandbytes.optim.optimizer import Optimizer2State
from torch import Tensor, nn

from peft_lightning.optim.batched_update import BatchedUpdate
from peft_lightning.optim.eight_bit_state import BLOCK, MOMENTS, SCALES, stand_in

# Weights that are widened at a time, in whole blocks: a whole table of embeddings in 32 bits would take more memory
# than bf16 saves.
_PIECE = 2**20


class StochasticRounding(Optimizer2State):
    """Steps bf16 weights in 32 bits and rounds them stochastically (Gupta et al. 2015, arXiv:1502.02551).

    The random numbers come from torch's generator, whose state is in every checkpoint. 32-bit weights are stepped as in
    bitsandbytes.
    """

    @torch.no_grad()
    def update_step(self, group: dict[str, Any], p: nn.Parameter, gindex: int, pindex: int) -> None:
        """Updates one parameter.

        Args:
            group: The settings of the parameter's group.
            p: The parameter, with its gradient.
            gindex: The number of the group.
            pindex: The number of the parameter in the group.
        """
        if p.dtype != torch.bfloat16 or p.grad is None:
            super().update_step(group, p, gindex, pindex)  # type: ignore[no-untyped-call]
            return
        weights, gradient, state = p.data.view(-1), p.grad.reshape(-1), self.state[p]
        for start in range(0, weights.numel(), _PIECE):
            part = slice(start, start + _PIECE)
            with stand_in(self, weights[part].float(), gradient[part].float(), _part_of(state, part)) as piece:
                super().update_step(group, piece, gindex, pindex)  # type: ignore[no-untyped-call]
            piece.grad = None
            weights[part] = rounded(piece.data)
        state["step"] += 1


class RoundedAdamW8bit(BatchedUpdate, StochasticRounding, AdamW8bit):
    """AdamW with 8-bit state (Dettmers et al. 2021, arXiv:2110.02861), for weights in bf16 too."""


def rounded(values: Tensor) -> Tensor:
    """Rounds values to bf16, up with the probability that makes the mean right.

    Args:
        values: The values in 32 bits, of any shape.

    Returns:
        The rounded values, the same shape, in bf16.
    """
    # bf16 is the upper half of a 32-bit float: where adding a random number to the lower half carries, it rounds up.
    chance = torch.empty_like(values, dtype=torch.int32).random_(0, 2**16)
    carried = chance.add_(values.view(torch.int32)).bitwise_and_(-(2**16)).view(torch.float32)
    # Infinities and NaN are not carried into: they have to stay visible.
    return torch.where(values.isfinite(), carried, values).to(torch.bfloat16)


def _part_of(state: dict[str, Any], part: slice) -> dict[str, Any]:
    """Returns the state for a piece of a parameter, as views: the update of a piece changes the whole state."""
    piece = dict(state)
    for key in MOMENTS:
        piece[key] = state[key].view(-1)[part]
        if getattr(state[key], "is_paged", False):
            piece[key].is_paged = True
            piece[key].page_deviceid = state[key].page_deviceid
    for key in SCALES:
        if key in state:
            piece[key] = state[key][part.start // BLOCK : part.stop // BLOCK]
    return piece
