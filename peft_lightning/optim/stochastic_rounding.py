"""bitsandbytes' 8-bit AdamW for bf16 weights, which are rounded up or down at random and are right on average.

Two neighbours in bf16 are half a percent apart, and a step of AdamW at 5e-5 is smaller than half of that for most
weights: rounded to the nearest, they would never move.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from bitsandbytes import functional
from bitsandbytes.optim.adamw import AdamW8bit
from torch import Tensor, nn

from peft_lightning.optim.batched_update import BatchedUpdate, Member
from peft_lightning.optim.eight_bit_state import MOMENTS, SCALES, stand_in
from peft_lightning.optim.weight_pieces import Cut, Part, pieces_of

# Weights that are widened at a time, in whole blocks: a whole table of embeddings in 32 bits would take more memory
# than bf16 saves. At most 13 bytes of each are held at once, 26 MiB.
_PIECE = 2**21


class StochasticRounding(BatchedUpdate):
    """Steps bf16 weights in 32 bits and rounds them stochastically (Gupta et al. 2015, arXiv:1502.02551).

    The random numbers come from torch's generator, whose state is in every checkpoint. 32-bit weights are stepped as in
    bitsandbytes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cuts: dict[tuple[int, int], Cut] = {}
        self._chance: torch.Generator | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all weights that have gradients; each step draws anew, and the same in all processes of a run.

        Args:
            closure: Computes the loss and the gradients.

        Returns:
            What the closure returned.
        """
        self._chance = None
        return super().step(closure)

    def _rounded(self, values: Tensor, step: int) -> Tensor:
        if self._chance is None:
            # Not torch's own generator: processes that share a step have drawn different masks of dropout from it.
            self._chance = torch.Generator(values.device).manual_seed((torch.initial_seed() + step) % 2**63)
        return rounded(values, self._chance)

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
        self._update_pieces(group, gindex, pieces_of(self, [(pindex, p)], _PIECE))
        self.state[p]["step"] += 1

    def update_alone(self, group: dict[str, Any], gindex: int, members: Sequence[Member]) -> None:
        """Updates large weights; those in bf16 are widened, updated and rounded in pieces, which several may share.

        Of the kernels that round, each piece takes five, where each weight would: launching them for roberta-base took
        longer than the step's forward and backward pass.

        Args:
            group: The settings of the weights' group.
            gindex: The number of the group.
            members: The weights, with their gradients and state.
        """
        for narrow, some in self._runs(members):
            if not narrow:
                super().update_alone(group, gindex, some)
                continue
            for _, p in some:
                self.prefetch_state(p)  # type: ignore[no-untyped-call]
            self._update_pieces(group, gindex, self._cut(gindex, some))
            for _, p in some:
                self.state[p]["step"] += 1

    def _runs(self, members: Sequence[Member]) -> Iterator[tuple[bool, list[Member]]]:
        """Yields weights, and whether pieces can hold them, in their order: it says which random numbers they get."""
        by_kind = groupby(members, lambda member: self._goes_in_pieces(member[1]))
        return ((narrow, list(some)) for narrow, some in by_kind)

    def _goes_in_pieces(self, p: nn.Parameter) -> bool:
        return p.dtype == torch.bfloat16 and p.is_contiguous() and self.state[p]["state1"].dtype == torch.uint8

    def _cut(self, gindex: int, members: Sequence[Member]) -> list[list[Part]]:
        """Returns the pieces of weights: those of the step before where their state is the same."""
        states = [tuple(self.state[p][key] for key in (*MOMENTS, *SCALES)) for _, p in members]
        key = gindex, members[0][0]
        cut = self._cuts.get(key)
        if cut is None or not cut.holds(states):
            cut = self._cuts[key] = Cut(states, list(pieces_of(self, members, _PIECE)))
        return cut.pieces

    def _update_pieces(self, group: dict[str, Any], gindex: int, pieces: Iterable[Sequence[Part]]) -> None:
        for piece in pieces:
            parts = [part.member[1].data.view(-1)[part.place] for part in piece]
            sizes = [part.size for part in piece]
            values = parts[0].new_empty(sum(sizes), dtype=torch.float32)
            gradient = torch.empty_like(values)
            wide, slopes = values.split_with_sizes(sizes), gradient.split_with_sizes(sizes)
            _copy(wide, parts)
            _copy(slopes, [_gradient(part.member[1])[part.place] for part in piece])
            for part, value, slope in zip(piece, wide, slopes, strict=True):
                self._update_part(group, gindex, part, value, slope)
            del gradient, slopes, slope  # the loop's name held the last part's memory
            _copy(parts, self._rounded(values, self.state[piece[0].member[1]]["step"]).split_with_sizes(sizes))

    def _update_part(self, group: dict[str, Any], gindex: int, part: Part, value: Tensor, slope: Tensor) -> None:
        """Calls bitsandbytes' update as its own ``update_step`` does, without what that does for each weight anew."""
        pindex, p = part.member
        state = self.state[p]
        if state["state1"].dtype != torch.uint8:  # a weight of fewer than 4,096 values
            with stand_in(self, value, slope, part.state) as whole:
                super().update_step(group, whole, gindex, pindex)  # type: ignore[no-untyped-call]
            return
        config = self.get_config(gindex, pindex, group)  # type: ignore[no-untyped-call]
        beta1, beta2 = config["betas"]
        functional.optimizer_update_8bit_blockwise(
            self.optimizer_name,
            slope,
            value,
            part.state["state1"],
            part.state["state2"],
            beta1,
            beta2,
            0.0,  # a third beta, and alpha: other optimisers' settings
            0.0,
            config["eps"],
            state["step"] + 1,
            config["lr"],
            state["qmap1"],
            state["qmap2"],
            part.state["absmax1"],
            part.state["absmax2"],
            config["weight_decay"],
            gnorm_scale=1.0,
            skip_zeros=config["skip_zeros"],
        )


class RoundedAdamW8bit(StochasticRounding, AdamW8bit):
    """AdamW with 8-bit state (Dettmers et al. 2021, arXiv:2110.02861), for weights in bf16 too."""


def rounded(values: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rounds values to bf16, up with the probability that makes the mean right.

    Args:
        values: The values in 32 bits, of any shape.
        generator: What draws; torch's own for the device without it.

    Returns:
        The rounded values, the same shape, in bf16.
    """
    # bf16 is the upper half of a 32-bit float: where adding a random number to the lower half carries, it rounds up.
    bits = torch.empty(values.numel(), dtype=torch.int32, device=values.device).random_(0, 2**16, generator=generator)
    bits.add_(values.contiguous().view(-1).view(torch.int32))
    result = torch.empty_like(values, dtype=torch.bfloat16, memory_format=torch.contiguous_format)
    result.view(-1).view(torch.int16).copy_(bits.view(torch.int16)[1::2])  # little-endian
    # Infinities are not carried into: their lower half is 0. NaN may be, and has to stay visible.
    return result.masked_fill_(values != values, torch.nan)


def _gradient(p: nn.Parameter) -> Tensor:
    assert p.grad is not None
    return p.grad.reshape(-1)


def _copy(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    # Not together: for tensors of this size torch's kernel for many occupies a fraction of a GPU.
    for one, other in zip(to, source, strict=True):
        one.copy_(other)
