"""The types that PEFT offers, and what this project knows of each: whether it classifies, its layers, its seeds."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.targets import encoder_linear_layers

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
# Arguments of every configuration that a run sets by itself, or that say where a file came from.
BOOKKEEPING = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
)
# Arguments that go with one value of init_lora_weights alone.
_OF_STARTS = {"corda_config": "corda", "eva_config": "eva", "lora_ga_config": "lora_ga"}
# Starts of LoRA that PEFT computes from the weights in floats, each tried with PEFT 0.21.2.
_STARTS_ON_FLOATS = ("corda", "loftq", "lora_ga", "mica", "pissa")
# Starts by which a LoRA is known.
_VARIANTS = ("corda", "eva", "loftq", "lora_ga", "mica", "olora", "orthogonal", "pissa")
_PLAIN = {bool, int, float, str, type(None)}


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
        raise UserError(f"PEFT has no type {peft_type!r}: {_nearest(peft_type, classes)}{offer}")
    return classes[peft_type]


def check_arguments(cls: type[PeftConfig], peft_type: str, arguments: Mapping[str, object]) -> None:
    """Checks a type's arguments against its configuration class; no model is needed.

    Args:
        cls: The class of the type's configuration.
        peft_type: The type.
        arguments: The arguments that the user has set.

    Raises:
        UserError: If an argument is unknown, missing or of another type than the class says.
    """
    known = [field.name for field in dataclasses.fields(cls) if field.name not in BOOKKEEPING]
    for name in arguments:
        if name not in known:
            raise UserError(
                f"{cls.__name__} has no argument {name!r}: {_nearest(name, known)}{peft_type} takes {', '.join(known)}"
            )
    if peft_type in PROMPTS and not arguments.get("num_virtual_tokens"):
        raise UserError(
            f"{peft_type} needs the number of its virtual tokens: use ",
            Setting("model.method.config.num_virtual_tokens", 20),
        )
    _check_start(arguments)
    if arguments.get("generator_seed") is not None:
        # Its state is in no checkpoint, and activations computed again would get other noise than before.
        raise UserError("generator_seed would make a run that cannot be resumed: leave it out, the run's seed serves")
    if peft_type == "ADAMSS" and arguments.get("use_asa"):
        raise UserError("ADAMSS with use_asa cannot be resumed, so it is refused: leave use_asa out")
    _check_types(cls, arguments)


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


def default_targets(model: PreTrainedModel, peft_type: str) -> tuple[list[str] | str | None, str | None]:
    """Finds the layers that a type adapts where the user names none.

    Args:
        model: The model to adapt.
        peft_type: The type.

    Returns:
        None for PEFT's own choice for this architecture; else the layers, and a note that says so.
    """
    from peft.utils import constants

    kind = model.config.model_type
    name = "LNTUNING" if peft_type == "LN_TUNING" else peft_type
    if kind in getattr(constants, f"TRANSFORMERS_MODELS_TO_{name}_TARGET_MODULES_MAPPING", {}):
        return None, None
    if peft_type == "LN_TUNING":
        return norm_layers(model), f"PEFT has no choice of layers for LN_TUNING in {kind}: all norms are adapted"
    note = f"PEFT has no choice of layers for {peft_type} in {kind}: all linear layers of the encoder are adapted"
    return encoder_linear_layers(model), note


def norm_layers(model: PreTrainedModel) -> list[str]:
    """Returns the full names of the encoder's norms; those of the head, which are trained whole, are left out."""
    head = tuple(f"{name}." for name in head_modules(model))
    return [
        name
        for name, module in model.named_modules()
        if (isinstance(module, nn.LayerNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm")))
        and not f"{name}.".startswith(head)
    ]


def refuse_start_on_packed(arguments: Mapping[str, object], bits: str) -> None:
    """Refuses a start of LoRA's that is taken off the weights, where these are packed.

    Args:
        arguments: The arguments that the user has set.
        bits: What the encoder's layers are held in.

    Raises:
        UserError: If the start needs floats.
    """
    start = arguments.get("init_lora_weights")
    if isinstance(start, str) and start.partition("_niter_")[0] in _STARTS_ON_FLOATS:
        raise UserError(
            f"{start} takes its start off the weights themselves, and layers in {bits} cannot hold the rest: leave ",
            Setting("model.quantization"),
            " out, or use eva, olora or orthogonal as init_lora_weights",
        )


def _check_start(arguments: Mapping[str, object]) -> None:
    start = arguments.get("init_lora_weights")
    for name, own in _OF_STARTS.items():
        if arguments.get(name) and start != own:
            raise UserError(
                f"{name} has no effect under another start: use ",
                Setting("model.method.config.init_lora_weights", own),
                f", or leave {name} out",
            )
    corda = arguments.get("corda_config")
    files = [name for name in ("cache_file", "covariance_file") if isinstance(corda, Mapping) and corda.get(name)]
    if files:
        raise UserError(
            f"corda_config.{files[0]} could hold the start of other data: leave it out, every run computes its own"
        )
    if start == "loftq":
        raise UserError(
            "loftq is refused: PEFT computes it on a GPU alone, and leaves the weights in floats, which saves no "
            "memory: use ",
            Setting("model.quantization", "nf4"),
            " with init_lora_weights olora instead",
        )


def _check_types(cls: type[PeftConfig], arguments: Mapping[str, object]) -> None:
    """Checks numbers, truth values and words; PEFT's annotations of other values do not hold all that it takes."""
    hints = typing.get_type_hints(cls)
    for name, value in arguments.items():
        options = typing.get_args(hints[name]) or (hints[name],)
        if set(options) <= _PLAIN and not any(_is_a(value, option) for option in options):
            expected = " or ".join("null" if option is type(None) else option.__name__ for option in options)
            raise UserError(f"{cls.__name__}: {name} is {value!r}, and has to be of type {expected}")


def _is_a(value: object, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))


def _nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}? " if near else ""
