"""Faster dropout on CPUs, where drawing masks as torch does takes two fifths of a small encoder's training step.

torch makes a whole draw for each value of a mask, and has no fused CPU kernel for attention with dropout. Here 64
random bits serve four values. They come from the same generator, whose state is in every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Each value of a mask uses 16 random bits, so probabilities are rounded to 1 / 65,536.
_STEPS = 2**16
_LEAST = torch.finfo(torch.float32).min
_torch_dropout, _torch_attention = F.dropout, F.scaled_dot_product_attention


@contextmanager
def faster_dropout(device: torch.device) -> Iterator[None]:
    """Replaces torch's dropout and attention functions within the context, for every model.

    Args:
        device: The device of the training step; on a GPU nothing changes.
    """
    # Not a TorchFunctionMode: such a mode is off in a backward pass, which may compute activations again.
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
    """Zeroes values at random and scales the others, as ``torch.nn.functional.dropout`` does.

    Args:
        input: Floating point values of any shape.
        p: The probability that a value is zeroed, rounded to 1 / 65,536.
        training: Whether dropout is applied; if not, the values are returned unchanged.
        inplace: Whether the values are overwritten; left to torch.

    Returns:
        The values, in the shape and type of the input.
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
    """Computes attention with dropout, as ``torch.nn.functional.scaled_dot_product_attention`` does on a CPU.

    Args:
        query: Queries, shape (..., L, E).
        key: Keys, shape (..., S, E).
        value: Values, shape (..., S, V).
        attn_mask: True where a key is attended to, or numbers that are added to the scores; broadcast to (..., L, S).
        dropout_p: The probability that a weight is zeroed; at 0 torch's fused kernel runs.
        is_causal: Whether a query attends to no later key; left to torch.
        scale: The factor of the scores; 1 / √E by default.
        enable_gqa: Whether queries share keys; left to torch.

    Returns:
        The attended values, shape (..., L, V), in the type of ``value``.
    """
    if dropout_p == 0 or is_causal or enable_gqa:
        return _torch_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (states.to(torch.get_autocast_dtype("cpu")) for states in (query, key, value))
    # Scores and their softmax are computed in 32 bits, whatever the type of the inputs, as in torch's own function.
    with torch.autocast("cpu", enabled=False):
        scores = (query.float() * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.float().transpose(-2, -1)
        seen = None
        if attn_mask is not None:
            # Not minus infinity: the softmax of a query whose keys are all masked would be NaN. torch returns 0 there.
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
