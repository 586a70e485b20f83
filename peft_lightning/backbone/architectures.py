"""The abilities of an architecture: its head, its attention, its longest input; no weights are read."""

from __future__ import annotations

from copy import deepcopy
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from peft_lightning.backbone.last_token import LastTokenClassifier
from peft_lightning.backbone.locations import first_line, quiet_transformers
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_ATTENTIONS = ("eager", "sdpa", "flash_attention_2")


def is_sequence_classifier(config: PretrainedConfig) -> bool:
    """Tells whether transformers can put a classification head on the architecture."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    return type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


def choose_attention(config: PretrainedConfig, asked: str) -> tuple[str, list[str]]:
    """Finds the attention implementation to run.

    Args:
        config: The configuration of the architecture.
        asked: ``eager``, ``sdpa`` or ``flash_attention_2``.

    Returns:
        The implementation, and a note where ``eager`` runs because the architecture has no ``sdpa``, the default.

    Raises:
        UserError: The implementation is unknown or not installed, or the architecture or this machine cannot run it.
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
            # Reading a class attribute would be faster, but each release of transformers renames it.
            AutoModelForSequenceClassification.from_config(deepcopy(config), attn_implementation=attn_implementation)
        except (ImportError, ValueError) as error:
            return first_line(error)
    return None


def recompute_activations(model: PreTrainedModel) -> None:
    """Turns gradient checkpointing on: only the activations between layers are kept, the others are computed again.

    Those of the last layer are kept: its backward pass comes at once, with all of them.

    Args:
        model: The backbone; it is changed in place.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    # The newer name in transformers; where it exists, the older one warns.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    # Reentrant checkpointing would give no gradients to adapters behind frozen embeddings.
    enable({"use_reentrant": False})
    # Encoders have no cache, but transformers warns where this is on.
    model.config.use_cache = False
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    # Where there are fewer, each is used more than once.
    if 1 < getattr(model.config, "num_hidden_layers", 0) <= len(layers):
        layers[-1].gradient_checkpointing = False


def recomputes_activations(model: PreTrainedModel) -> bool:
    """Tells whether ``recompute_activations`` has been called on an encoder."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def longest_input(model: nn.Module) -> int | None:
    """Returns the longest input of a backbone.

    An encoder's is the length of its table of positions; RoBERTa's kin leave the first rows of it unused. A decoder's
    is what its configuration names: rotary positions go on beyond it, to angles that were never trained. PEFT's virtual
    tokens take the places of as many others.

    Args:
        model: The backbone, adapted or not.

    Returns:
        The number of tokens, or None for an encoder without such a table and for positions that are relative.
    """
    config = getattr(model, "active_peft_config", None)
    prompt = getattr(config, "num_virtual_tokens", None) or 0
    for module in model.modules():
        if isinstance(module, LastTokenClassifier):
            limit = getattr(cast("PreTrainedModel", module).config.get_text_config(), "max_position_embeddings", None)
            return limit - prompt if isinstance(limit, int) else None
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused - prompt
    return None
