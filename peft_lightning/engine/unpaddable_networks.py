"""Which networks, on which devices, can skip padding: those that hand their padding mask to attention as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Encoders that pass the padding mask on to their attention unchanged.
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
# Decoders that pass on the mask that transformers makes of padding and of what lies ahead.
DECODERS = frozenset(
    {
        "arcee",
        "exaone4",
        "gemma",
        "gemma3_text",
        "glm",
        "glm4",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "helium",
        "llama",
        "ministral3",
        "mistral",
        "mixtral",
        "olmo",
        "olmo2",
        "olmo3",
        "opt",
        "persimmon",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
_WIDEST_HEAD = 128
# The types that the kernel takes.
DTYPES = (torch.float16, torch.bfloat16)


def can_unpad(network: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Tells whether attention can skip padding.

    Args:
        network: The network that contains the backbone, adapted or not.
        device: The device that it runs on. FlashAttention-2 (https://arxiv.org/abs/2307.08691), which torch includes,
            needs an NVIDIA GPU of the Ampere generation or newer.
        dtype: The type that attention is computed in.
    """
    if device.type != "cuda" or dtype not in DTYPES or not knows_its_padding(network):
        return False
    available = torch.backends.cuda.is_flash_attention_available()
    allowed = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    return available and allowed and torch.cuda.get_device_capability(device) >= (8, 0)


def knows_its_padding(network: nn.Module) -> bool:
    """Tells whether a network's attention can work with the ends of texts, and the kernel takes heads of its width.

    Args:
        network: The network that contains the encoder, adapted or not.
    """
    encoder = pretrained_in(network)
    if encoder is None:
        return False
    config = encoder.config
    if config.model_type not in MODEL_TYPES | DECODERS or config._attn_implementation != "sdpa":
        return False
    width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return width % 8 == 0 and width <= _WIDEST_HEAD


def pretrained_in(network: nn.Module) -> PreTrainedModel | None:
    """Returns the model of transformers' within a network; None if there is none.

    Args:
        network: The network, adapted or not.
    """
    from transformers import PreTrainedModel

    return next((module for module in network.modules() if isinstance(module, PreTrainedModel)), None)
