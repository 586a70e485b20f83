"""Linear layers in four bits whose weights are unpacked a piece at a time, where memory comes first.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from bitsandbytes.functional import QuantState, dequantize_4bit, dequantize_blockwise
from bitsandbytes.nn.modules import Linear4bit
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# Of a feed-forward layer of 7 billion weights, one of 130 MiB, four pieces; those of attention are whole.
_PIECE = 33 * 2**20
# A product with fewer columns leaves many processors of a large GPU idle: of 2,048 rows it has a tile of 128 × 128 for
# 112 of an H200's 132.
_FEWEST_COLUMNS = 896
# Up to so many rows bitsandbytes multiplies without unpacking a weight whole.
_FEWEST_ROWS = 1536


class PiecewiseLinear4bit(Linear4bit):
    """A frozen linear layer in four bits that never holds its weight unpacked as a whole.

    Products of pieces add up in the type of the activations, so gradients of inputs are rounded once for each piece.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns the layer's outputs, (…, outputs), in the type of its inputs."""
        if torch.compiler.is_compiling() or x.numel() <= _FEWEST_ROWS * x.shape[-1]:
            return cast(Tensor, super().forward(x))
        narrowed = x if self.compute_dtype is None else x.to(self.compute_dtype)
        weight = cast(Any, self.weight)
        outputs = cast(Tensor, _Product.apply(narrowed, weight, weight.quant_state))  # type: ignore[no-untyped-call]
        if self.bias is not None:
            outputs = outputs + self.bias.to(outputs.dtype)
        return outputs.to(x.dtype)


def unpack_in_pieces(model: nn.Module) -> None:
    """Has the large linear layers of a model in four bits unpack their weights a piece at a time.

    Args:
        model: The quantised model, whose layers are changed in place.
    """
    for module in model.modules():
        if type(module) is Linear4bit:
            state = cast(Any, module.weight).quant_state
            if state is not None and _pieces(state) > 1:
                module.__class__ = PiecewiseLinear4bit


class _Product(Function):
    """x·Wᵀ with a packed W, which gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, state: Any) -> Tensor:
        ctx.packed, ctx.state = packed, state
        rows = x.reshape(-1, x.shape[-1])
        outputs = rows.new_empty(len(rows), state.shape[0])
        for start, end, weight in _unpacked(packed, state, rows.dtype, _pieces(state)):
            torch.mm(rows, weight.mT, out=outputs[:, start:end])
            del weight
        return outputs.view(*x.shape[:-1], state.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        rows = gradient.reshape(-1, gradient.shape[-1])
        by_input = rows.new_empty(len(rows), ctx.state.shape[1])
        for start, end, weight in _unpacked(ctx.packed, ctx.state, rows.dtype, _pieces(ctx.state)):
            torch.addmm(by_input, rows[:, start:end], weight, beta=int(start > 0), out=by_input)
            del weight
        return by_input.view(*gradient.shape[:-1], ctx.state.shape[1]), None, None


def _pieces(state: Any) -> int:
    """Returns into how many pieces a weight is cut: each begins with a block of its own."""
    outputs, inputs = state.shape
    cut = min(math.ceil(2 * outputs * inputs / _PIECE), max(1, outputs // _FEWEST_COLUMNS))
    return cut if inputs % state.blocksize == 0 else 1


def _unpacked(packed: Tensor, state: Any, dtype: torch.dtype, pieces: int) -> Iterator[tuple[int, int, Tensor]]:
    """Unpacks a weight a piece at a time.

    Args:
        packed: The weight, two values in a byte.
        state: What bitsandbytes keeps beside it.
        dtype: The type that it is unpacked to.
        pieces: How many there are.

    Yields:
        The first output of a piece, the one after its last, and its weights, (outputs, inputs).
    """
    outputs, inputs = state.shape
    scales = state.absmax
    if state.nested:
        scales = dequantize_blockwise(scales, state.state2) + state.offset
    flat = packed.detach().view(-1)
    bounds = [outputs * piece // pieces for piece in range(pieces + 1)]
    for start, end in itertools.pairwise(bounds):
        first, last = start * inputs, end * inputs
        piece = QuantState(  # type: ignore[no-untyped-call]
            absmax=scales[first // state.blocksize : last // state.blocksize],
            shape=torch.Size((end - start, inputs)),
            dtype=dtype,
            blocksize=state.blocksize,
            quant_type=state.quant_type,
        )
        # Not held here, so that the next one takes its memory.
        yield start, end, dequantize_4bit(flat[first // 2 : last // 2].view(-1, 1), piece)
