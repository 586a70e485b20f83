"""Variable-length attention: a kernel that takes the end of each text instead of a padding mask.

The padding of a row attends to itself, so shapes stay as they are and a step can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from peft_lightning.engine.unpaddable_networks import DECODERS, DTYPES, pretrained_in

_NAME = "unpadded"


@contextmanager
def unpadded_attention(network: nn.Module) -> Iterator[None]:
    """Lets the attention of an encoder skip padding within the context.

    Args:
        network: A network for which ``can_unpad`` is true.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _ends)
    encoder = pretrained_in(network)
    assert encoder is not None
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def _ends(
    *, q_length: int, kv_length: int, mask_function: Any, attention_mask: Tensor | None, **settings: Any
) -> Tensor | None:
    """Returns where each row's text and padding end, in place of the mask; other masks than padding are made as usual.

    The tokens of a row have to be contiguous, with padding on one side only. The ends are a vector where each token
    sees its whole text, and a matrix of one row where it sees none that lies ahead.
    """
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

    looks_back = _looks_back(kv_length, mask_function, **settings)
    known = looks_back or mask_function is bidirectional_mask_function
    if attention_mask is None or not known or q_length != kv_length:
        mask: Tensor | None = sdpa_mask(
            q_length=q_length,
            kv_length=kv_length,
            mask_function=mask_function,
            attention_mask=attention_mask,
            **settings,
        )
        return mask
    is_token = attention_mask[:, -kv_length:].bool()
    tokens = is_token.sum(1)
    first_end = torch.where(is_token[:, 0], tokens, kv_length - tokens)  # padding may lie on either side
    starts = torch.arange(0, len(is_token) * kv_length, kv_length, device=is_token.device)
    ends = torch.stack([starts + first_end, starts + kv_length], 1)
    ends = nn.functional.pad(ends.flatten(), (1, 0)).to(torch.int32)
    return ends[None] if looks_back else ends


def _looks_back(
    length: int,
    mask_function: Any,
    config: Any = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = False,
    **settings: Any,
) -> bool:
    """Tells whether a decoder's token sees all before it and no more: a window as wide as the row hides nothing."""
    from transformers.masking_utils import causal_mask_function

    # transformers forbids the skip wherever something is laid over the plain mask.
    whole = mask_function is causal_mask_function or (local_size is not None and length <= local_size)
    return allow_is_causal_skip and whole and getattr(config, "model_type", None) in DECODERS


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Computes attention with the signature of transformers' attention functions, and the mask that ``_ends`` made."""
    rows, heads, width, head_width = query.shape
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    has_ends = attention_mask is not None and attention_mask.dim() <= 2
    if attention_mask is not None and has_ends and dtype not in DTYPES:
        # The kernel takes no such type, which comes for example from a callback that runs the network outside autocast.
        attention_mask, has_ends = _as_mask(attention_mask, rows, width), False
    if attention_mask is None or not has_ends:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
        )
        return attended, None
    # Keys and values may have fewer heads than queries, which share them.
    query, key, value = (
        states.transpose(1, 2).reshape(rows * width, -1, head_width).to(dtype) for states in (query, key, value)
    )
    looks_back = attention_mask.dim() == 2
    attended = flash(query, key, value, attention_mask.flatten(), width, dropout, scaling, looks_back)
    return attended.view(rows, width, heads, head_width), None


def _as_mask(ends: Tensor, rows: int, width: int) -> Tensor:
    """Returns the mask that the ends stand for: rows x 1 x width x width, true where a token attends to another."""
    tokens = torch.arange(rows * width, dtype=ends.dtype, device=ends.device)
    texts = torch.bucketize(tokens, ends.flatten()[1:], right=True).view(rows, 1, width)
    mask = texts[..., None] == texts[..., None, :]
    return mask.tril() if ends.dim() == 2 else mask


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    ends: Tensor,
    longest: int,
    dropout: float,
    scaling: float | None,
    looks_back: bool = False,
) -> Tensor:
    """Computes attention within each of several concatenated sequences.

    torch's public function (``torch.nn.attention.varlen``) has no dropout; this calls the same operator.

    Args:
        query: The queries in half precision, tokens x heads x width.
        key: The keys, likewise; their number of heads divides that of the queries.
        value: The values, likewise.
        ends: A 0, then the end of each sequence; 32-bit integers.
        longest: The number of tokens of the longest possible sequence.
        dropout: The share of the attention weights that are dropped.
        scaling: The factor of the scores; 1 / sqrt(width) if None.
        looks_back: Whether a token sees none that lies ahead.

    Returns:
        The attended values, tokens x heads x width.
    """
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, ends, ends, longest, longest, dropout, looks_back, False, scale=scaling
    )[0]
    return attended
