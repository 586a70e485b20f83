"""Attention within each review of an unpadded batch, as an attention implementation for transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "unpadded"


def unpadded_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    boundaries: Tensor,
    longest: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """Every token attends to the tokens of its own review: FlashAttention on a GPU, a mask on a CPU.

    Args:
        module: the attention layer; not used.
        query: shape (1, heads, T, dimensions of a head), as key and value.
        key: see query.
        value: see query.
        attention_mask: not used: the boundaries say it all.
        boundaries: where the reviews begin, see `Batch`.
        longest: tokens of the longest review there may be.

    Returns:
        the attended values, shape (1, T, heads, dimensions of a head), and no weights.
    """
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        output = varlen_attn(q, k, v, boundaries, boundaries, longest, longest)
        return (output if isinstance(output, Tensor) else output[0])[None], None
    review = torch.bucketize(torch.arange(query.shape[2]), boundaries[1:], right=True)
    same = review[:, None] == review[None]
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=same)
    return attended.transpose(1, 2), None


def register() -> None:
    """Makes `attn_implementation="unpadded"` known."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, unpadded_attention)
