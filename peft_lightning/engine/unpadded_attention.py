"""Attention over the tokens that are there, by a kernel that is told where each text ends instead of given a mask.

Padding attends to padding of its own row: shapes stay as they are, so that a step can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "unpadded"
# Encoders that hand what masks their padding on to attention as it is.
MODEL_TYPES = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "data2vec-text",
        "distilbert",
        "electra",
        "ernie",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
    }
)
_WIDEST_HEAD = 128
_DTYPES = (torch.float16, torch.bfloat16)


def can_unpad(network: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Tells whether attention can leave padding out.

    Args:
        network: what holds the encoder, adapted or not.
        device: where it runs; FlashAttention-2 (https://arxiv.org/abs/2307.08691), which torch brings along, needs an
            NVIDIA GPU of the Ampere generation or newer.
        dtype: what attention is computed in.
    """
    if device.type != "cuda" or dtype not in _DTYPES:
        return False
    there = torch.backends.cuda.is_flash_attention_available()
    allowed = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    return there and allowed and torch.cuda.get_device_capability(device) >= (8, 0) and knows_its_padding(network)


def knows_its_padding(network: nn.Module) -> bool:
    """Tells whether a network's attention can be told where texts end, and the kernel takes heads of its width.

    Args:
        network: what holds the encoder, adapted or not.
    """
    encoder = _encoder(network)
    if encoder is None:
        return False
    config = encoder.config
    if config.model_type not in MODEL_TYPES or config._attn_implementation != "sdpa":
        return False
    width: int = config.hidden_size // config.num_attention_heads
    return width % 8 == 0 and width <= _WIDEST_HEAD


@contextmanager
def unpadded_attention(network: nn.Module) -> Iterator[None]:
    """Lets the attention of an encoder leave padding out, inside.

    Args:
        network: one of which `can_unpad` is true.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _ends)
    encoder = _encoder(network)
    assert encoder is not None
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def _encoder(network: nn.Module) -> PreTrainedModel | None:
    from transformers import PreTrainedModel

    return next((module for module in network.modules() if isinstance(module, PreTrainedModel)), None)


def _ends(
    *, q_length: int, kv_length: int, mask_function: Any, attention_mask: Tensor | None, **settings: Any
) -> Tensor | None:
    """Makes what stands for the mask: where each row's texts and padding end; another mask than padding stays one.

    The tokens of a row must lie one behind the other, with padding on one side of them.
    """
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

    if attention_mask is None or mask_function is not bidirectional_mask_function or q_length != kv_length:
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
    return nn.functional.pad(ends.flatten(), (1, 0)).to(torch.int32)


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
    """Attends as transformers' own attention functions do, where `_ends` made the mask."""
    rows, heads, width, head_width = query.shape
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    if attention_mask is not None and attention_mask.dim() == 1 and dtype not in _DTYPES:
        # The kernel does not take it, such as of a callback that calls the network outside autocast.
        attention_mask = _as_mask(attention_mask, rows, width)
    if attention_mask is None or attention_mask.dim() != 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
        )
        return attended, None
    query, key, value = (
        states.transpose(1, 2).reshape(rows * width, heads, head_width).to(dtype) for states in (query, key, value)
    )
    attended = flash(query, key, value, attention_mask, width, dropout, scaling)
    return attended.view(rows, width, heads, head_width), None


def _as_mask(ends: Tensor, rows: int, width: int) -> Tensor:
    """Makes the mask that `_ends` stands for: rows x 1 x width x width, true where a token sees another."""
    tokens = torch.arange(rows * width, dtype=ends.dtype, device=ends.device)
    texts = torch.bucketize(tokens, ends[1:], right=True).view(rows, 1, width)
    return texts[..., None] == texts[..., None, :]


def flash(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, dropout: float, scaling: float | None
) -> Tensor:
    """Attends within each of the sequences that lie one behind the other.

    torch's own function for it (`torch.nn.attention.varlen`) has no dropout; this is what that calls.

    Args:
        query: in half precision, tokens x heads x width, like the next two.
        key: what is compared with it.
        value: what is summed.
        ends: where they end, after a 0; 32-bit integers.
        longest: tokens of the longest that may be.
        dropout: share of the weights that are dropped.
        scaling: of the products; 1 / sqrt(width) if None.

    Returns:
        The sums, tokens x heads x width.
    """
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, ends, ends, longest, longest, dropout, False, False, scale=scaling
    )[0]
    return attended
