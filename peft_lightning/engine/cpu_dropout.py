"""Dropout on CPUs: drawing masks as torch does takes two fifths of a training step of a small encoder there.

Each value of a mask costs torch a whole draw, and attention with dropout has no fused kernel. Here 64 random bits serve
four values, out of the same generator, whose state is in every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# A value has 16 random bits, so probabilities are rounded to 1 / 65,536.
_STEPS = 2**16
_LEAST = torch.finfo(torch.float32).min
_torch_dropout, _torch_attention = F.dropout, F.scaled_dot_product_attention


@contextmanager
def faster_dropout(device: torch.device) -> Iterator[None]:
    """Does dropout in torch's place, by itself and in attention, in whatever model calls it.

    Args:
        device: where a training step runs; on a GPU nothing changes.
    """
    # Not a TorchFunctionMode: in a backward pass, which may compute activations again, such a mode is off.
    if device.type != "cpu":
        yield
        return
    before = F.dropout, F.scaled_dot_product_attention
    F.dropout, F.scaled_dot_product_attention = dropout, attention
    try:
        yield
    finally:
        F.dropout, F.scaled_dot_product_attention = before


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes values by chance and scales the others, as `torch.nn.functional.dropout` does.

    Args:
        input: any floating point values.
        p: probability of a value to be zeroed, rounded to 1 / 65,536.
        training: whether anything is done.
        inplace: whether the values are overwritten, which only torch's own does.

    Returns:
        The same shape and type.
    """
    kept = round((1 - p) * _STEPS)
    if not training or inplace or not 0 < kept < _STEPS or not input.is_floating_point():
        return _torch_dropout(input, p, training, inplace)
    dropped: Tensor = _Dropout.apply(input, kept)  # type: ignore[no-untyped-call]
    return dropped


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention with dropout, as `torch.nn.functional.scaled_dot_product_attention` computes it on a CPU.

    Args:
        query: shape (..., L, E).
        key: shape (..., S, E).
        value: shape (..., S, V).
        attn_mask: True where a key is attended to, or what is added to the scores; broadcast to (..., L, S).
        dropout_p: probability of a weight to be zeroed; without dropout torch has a fused kernel.
        is_causal: no query looks ahead; left to torch.
        scale: of the scores; 1 / √E by default.
        enable_gqa: queries share keys; left to torch.

    Returns:
        Shape (..., L, V), in the type of the values.
    """
    if dropout_p == 0 or is_causal or enable_gqa:
        return _torch_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (each.to(torch.get_autocast_dtype("cpu")) for each in (query, key, value))
    # Scores and their softmax in 32 bits, whatever the inputs, as in torch's own.
    with torch.autocast("cpu", enabled=False):
        scores = (query.float() * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.float().transpose(-2, -1)
        seen = None
        if attn_mask is not None:
            # Not infinity: of a query that may look at nothing the softmax would be no number. Torch's result is 0.
            if attn_mask.dtype == torch.bool:
                seen, scores = attn_mask, scores.masked_fill(~attn_mask, _LEAST)
            else:
                seen, scores = attn_mask > -torch.inf, scores + attn_mask.clamp_min(_LEAST / 2)
        result = dropout(scores.softmax(-1), dropout_p).to(value.dtype) @ value
        return result if seen is None else result.masked_fill(~seen.any(-1, keepdim=True), 0)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: int) -> Tensor:
        words = torch.empty((values.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        chances = words.view(torch.int16)[: values.numel()].view(values.shape)
        factors = torch.lt(
            chances, kept - _STEPS // 2, out=torch.empty_like(values, memory_format=torch.contiguous_format)
        )
        ctx.save_for_backward(factors.mul_(_STEPS / kept))
        return values * factors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors
        return gradient * factors, None
