"""What an architecture is and can do, found out before any weights are read."""

from __future__ import annotations

from copy import deepcopy
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

from peft_lightning.backbone.locations import first_line, quiet_transformers
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_ATTENTIONS = ("eager", "sdpa", "flash_attention_2")


def is_sequence_classifier(config: PretrainedConfig) -> bool:
    """Whether the architecture is an encoder that transformers can put a classification head on."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )

    kind = type(config)
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return False
    # BERT and its kin can be run as decoders too; only what has no masked language model is nothing but one.
    return kind in MODEL_FOR_MASKED_LM_MAPPING or not (
        kind in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "is_encoder_decoder", False)
    )


def choose_attention(config: PretrainedConfig, asked: str) -> tuple[str, list[str]]:
    """Find the attention implementation to run.

    Args:
        config: the architecture.
        asked: `eager`, `sdpa` or `flash_attention_2`.

    Returns:
        What to run, and a note where that is `eager` because there is no `sdpa`, which is the default.

    Raises:
        UserError: it is unknown, not installed, or not for this architecture.
    """
    if asked not in _ATTENTIONS:
        raise UserError(f"attn_implementation {asked!r} is unknown; use one of {', '.join(_ATTENTIONS)}")
    if asked == "flash_attention_2" and not torch.cuda.is_available():
        raise UserError("flash_attention_2 needs a CUDA GPU; use ", Setting("model.attn_implementation", "sdpa"))
    if asked == "flash_attention_2" and find_spec("flash_attn") is None:
        raise UserError(
            "flash_attention_2 needs the package flash-attn, which is not installed; install flash-attn or use ",
            Setting("model.attn_implementation", "sdpa"),
        )
    problem = _attention_problem(config, asked)
    if problem is None:
        return asked, []
    if asked == "sdpa" and _attention_problem(config, "eager") is None:
        return "eager", [f"{config.model_type} has no sdpa attention: eager is used"]
    other = "sdpa" if asked == "eager" else "eager"
    raise UserError(
        f"{config.model_type} does not run with attn_implementation {asked} ({problem}); use ",
        Setting("model.attn_implementation", other),
    )


def _attention_problem(config: PretrainedConfig, attn_implementation: str) -> str | None:
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"), quiet_transformers():
        try:
            # A class attribute would answer faster, but each release of transformers spells it anew.
            AutoModelForSequenceClassification.from_config(deepcopy(config), attn_implementation=attn_implementation)
        except (ImportError, ValueError) as error:
            return first_line(error)
    return None


def recompute_activations(model: PreTrainedModel) -> None:
    """Turn gradient checkpointing on: between the layers activations are kept, within them computed again.

    Args:
        model: the encoder; it is changed in place.
    """
    # The newer word of transformers, in which the older one warns.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    # Reentrant checkpointing would give no gradients to adapters behind frozen embeddings.
    enable({"use_reentrant": False})
    # Encoders have no cache, but transformers warns of it.
    model.config.use_cache = False


def longest_input(model: nn.Module) -> int | None:
    """How many tokens fit a model that has a table of positions; RoBERTa's kin leave its first rows unused.

    Args:
        model: the encoder, adapted or not.

    Returns:
        The number of tokens, or None for a model without such a table.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return None
