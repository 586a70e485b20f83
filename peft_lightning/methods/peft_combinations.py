"""What a type of PEFT's does not go with: quantised layers, recomputed activations, some modules and architectures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from peft_lightning.backbone.architectures import recomputes_activations
from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.peft_types import NOT_QUANTISED, PROMPTS, classifying_types

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Starts of LoRA that PEFT computes from the weights in floats, each tried with PEFT 0.21.2.
_STARTS_ON_FLOATS = ("corda", "loftq", "lora_ga", "mica", "pissa")


def refuse_quantised(peft_type: str, arguments: Mapping[str, object], bits: str) -> None:
    """Refuses quantised layers where the type, or its start, cannot be put beside them.

    Args:
        peft_type: The type.
        arguments: The arguments that the user has set.
        bits: What the encoder's layers are held in.

    Raises:
        UserError: If the type or the start needs floats.
    """
    if peft_type in NOT_QUANTISED[bits]:
        can = ", ".join(kind for kind in classifying_types() if kind not in NOT_QUANTISED[bits])
        raise UserError(
            f"{peft_type} cannot be put beside layers in {bits} ({can} can): leave ",
            Setting("model.quantization"),
            " out",
        )
    start = arguments.get("init_lora_weights")
    if isinstance(start, str) and start.partition("_niter_")[0] in _STARTS_ON_FLOATS:
        raise UserError(
            f"{start} takes its start off the weights themselves, and layers in {bits} cannot hold the rest: leave ",
            Setting("model.quantization"),
            " out, or use eva, olora or orthogonal as init_lora_weights",
        )


def refuse_recomputed(peft_type: str) -> None:
    """Refuses activations that are computed again where the type gets no gradient through them.

    Args:
        peft_type: The type.

    Raises:
        UserError: If the type puts tokens of its own before the text.
    """
    if peft_type in PROMPTS:
        raise UserError(
            f"{peft_type} gets no gradient where activations are computed again: use ",
            Setting("model.gradient_checkpointing", False),
        )


def refuse_model(peft_type: str, whole: Collection[str], model: PreTrainedModel) -> None:
    """Refuses a model that the type cannot adapt, and modules beside its head that are to be trained whole.

    Args:
        peft_type: The type.
        whole: The modules that the configuration wants trained whole.
        model: The model.

    Raises:
        UserError: If they do not go together.
    """
    # PEFT writes the usual names of a head into every file, those that the model lacks too.
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    stray = sorted(set(whole) & present - set(head_modules(model)))
    if stray:
        raise UserError(
            f"modules_to_save names {', '.join(stray)}, and a method trains the head whole and nothing else: leave "
            "it out"
        )
    if peft_type in PROMPTS and getattr(model.config, "is_encoder_decoder", False):
        raise UserError(
            f"{peft_type} puts tokens before a decoder's text, and {model.config.model_type} is an encoder"
            " with a decoder, which reads the text twice: choose another type, such as LORA"
        )
    if recomputes_activations(model):
        refuse_recomputed(peft_type)
