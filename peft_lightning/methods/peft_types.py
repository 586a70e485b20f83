"""The types that PEFT offers, and what this project knows of each: whether it classifies, its layers, its seeds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import UserError
from peft_lightning.methods.targets import check_targets, encoder_linear_layers

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

# Types that cannot classify texts, and why; each was tried with PEFT 0.21.2.
CANNOT_CLASSIFY = {
    "ADAPTION_PROMPT": "it is built into the attention of LLaMA-like decoders",
    "CARTRIDGE": "it trains the key-value cache of a causal language model",
    "CPT": "PEFT has it for causal language models alone",
    "MULTITASK_PROMPT_TUNING": "its prompts belong to the tasks of a multi-task batch, and there is one task",
    "POLY": "its routing needs the task of every example, and there is one task",
    "SHADOW": "it runs beside the layers of a decoder",
    "TRAINABLE_TOKENS": "PEFT trains no head beside it",
    "XLORA": "it mixes LoRA adapters that have been trained before",
}
# The arguments that seed what a type draws at random and never trains. torch's own seed reaches none of them.
SEEDS = ("proj_seed", "projection_prng_key", "projection_seed", "random_loc_seed", "random_seed")
# Types that put tokens of their own before the text.
PROMPTS = ("P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
_FLOATS_ALONE = {
    "C3A",
    "DEFT",
    "DELORA",
    "FROD",
    "GLORA",
    "GRALORA",
    "HRA",
    "OSF",
    "PEANUT",
    "PSOFT",
    "SUPERTUNING",
    "TINYLORA",
}
# Types that cannot be put beside quantised layers, each tried with PEFT 0.21.2. Most raise somewhere; in eight bits
# DeFT, HRA and PEANuT take the whole numbers for the weights themselves and train on, which no error shows.
NOT_QUANTISED: dict[str, set[str]] = {
    "nf4": _FLOATS_ALONE | {"LOHA", "LOKR"},
    "fp4": _FLOATS_ALONE | {"LOHA", "LOKR"},
    "int8": _FLOATS_ALONE,
}
# Starts by which a LoRA is known.
_VARIANTS = ("corda", "eva", "loftq", "lora_ga", "mica", "olora", "orthogonal", "pissa")


def classifying_types() -> dict[str, type[PeftConfig]]:
    """Returns the types that can classify texts, and the class of each one's configuration."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    classes = {str(getattr(kind, "value", kind)): cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    return {kind: classes[kind] for kind in sorted(classes) if kind not in CANNOT_CLASSIFY}


def configuration_class(peft_type: str) -> type[PeftConfig]:
    """Returns the class of a type's configuration.

    Args:
        peft_type: The type, such as ``VERA``.

    Raises:
        UserError: If PEFT has no such type, or the type cannot classify texts.
    """
    classes = classifying_types()
    offer = f"use one of {', '.join(classes)}"
    if peft_type in CANNOT_CLASSIFY:
        raise UserError(f"peft_type {peft_type} cannot classify texts ({CANNOT_CLASSIFY[peft_type]}): {offer}")
    if peft_type not in classes:
        raise UserError(f"PEFT has no type {peft_type!r}: {did_you_mean(peft_type, classes)}{offer}")
    return classes[peft_type]


def variant_of(peft_type: str, arguments: Mapping[str, object]) -> str | None:
    """Returns the name of the variant of LoRA that a type's arguments make, such as ``pissa``; None for none.

    Args:
        peft_type: The type.
        arguments: The arguments that the user has set.
    """
    if peft_type != "LORA":
        return None
    start = arguments.get("init_lora_weights")
    named = start.lower().partition("_niter_")[0] if isinstance(start, str) else None
    if named in _VARIANTS:
        return named
    return "dora" if arguments.get("use_dora") else "rslora" if arguments.get("use_rslora") else None


def layers_to_adapt(
    model: PreTrainedModel, peft_type: str, asked: Sequence[str] | str | None
) -> tuple[list[str] | str | None, str | None]:
    """Finds the layers that a type adapts.

    Args:
        model: The model to adapt.
        peft_type: The type.
        asked: The configuration's ``target_modules``; a text, such as a regular expression, is PEFT's affair.

    Returns:
        The layers, None for PEFT's own choice for this architecture, and a note where they are not the ones asked for.

    Raises:
        UserError: The model lacks a layer that the user names.
    """
    if isinstance(asked, str):
        return asked, None
    if asked is None:
        return default_targets(model, peft_type)
    there, lacking = check_targets(model, asked)
    if lacking is None:
        return there, None
    if there:
        return there, f"{lacking}: {', '.join(there)} of those asked for are adapted"
    chosen, why = default_targets(model, peft_type)
    choice = ", ".join(_choices(peft_type).get(model.config.model_type, ()))
    return chosen, f"{lacking}: {why or f'PEFT has a choice for it, {choice}, which is adapted'}"


def default_targets(model: PreTrainedModel, peft_type: str) -> tuple[list[str] | str | None, str | None]:
    """Finds the layers that a type adapts where the user names none.

    Args:
        model: The model to adapt.
        peft_type: The type.

    Returns:
        None for PEFT's own choice for this architecture; else the layers, and a note that says so.
    """
    kind = model.config.model_type
    if kind in _choices(peft_type):
        return None, None
    if peft_type == "LN_TUNING":
        return norm_layers(model), f"PEFT has no choice of layers for LN_TUNING in {kind}: all norms are adapted"
    note = f"PEFT has no choice of layers for {peft_type} in {kind}: all linear layers of the encoder are adapted"
    return encoder_linear_layers(model), note


def _choices(peft_type: str) -> Mapping[str, Sequence[str]]:
    """Returns PEFT's choice of layers for a type, by model type."""
    from peft.utils import constants

    name = "LNTUNING" if peft_type == "LN_TUNING" else peft_type
    choices: Mapping[str, Sequence[str]] = getattr(
        constants, f"TRANSFORMERS_MODELS_TO_{name}_TARGET_MODULES_MAPPING", {}
    )
    return choices


def norm_layers(model: PreTrainedModel) -> list[str]:
    """Returns the full names of the encoder's norms; those of the head, which are trained whole, are left out."""
    head = tuple(f"{name}." for name in head_modules(model))
    return [
        name
        for name, module in model.named_modules()
        if (isinstance(module, nn.LayerNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm")))
        and not f"{name}.".startswith(head)
    ]


def did_you_mean(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Returns a question that offers the nearest of the known names; empty where none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}? " if near else ""
