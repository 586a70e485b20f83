"""Finds the linear layers of an architecture that a method adapts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import Part, Placeholder, Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


def resolve_targets(
    model: PreTrainedModel,
    asked: Sequence[str] | str | None,
    default: Sequence[str] | None,
    mapping: Mapping[str, Sequence[str] | str],
) -> tuple[list[str], str | None]:
    """Finds the layers to adapt: those asked for where the model has them, else PEFT's choice for the architecture.

    Args:
        model: The model to adapt.
        asked: Suffixes of layer names; ``all-linear`` for all linear layers of the encoder; None for PEFT's choice.
        default: The method's default. Where the model lacks its layers, PEFT's choice replaces it; the user's own
            choice is never replaced.
        mapping: PEFT's choice by model type.

    Returns:
        The suffixes, and a note where they are not the ones asked for.

    Raises:
        UserError: The model has no layers with the user's suffixes, or PEFT has no choice for this architecture.
    """
    layers = encoder_linear_layers(model)
    if asked == ALL_LINEAR:
        return layers, None
    if isinstance(asked, str):
        asked = [asked]
    if asked:
        unmatched = [target for target in asked if not _matches(target, layers)]
        if not unmatched:
            return list(asked), None
        if default is None or list(asked) != list(default):
            raise UserError(f"{model.config.model_type} has no linear layer {unmatched[0]!r}; ", *_offer(layers))
    chosen = mapping.get(model.config.model_type)
    if chosen is None or isinstance(chosen, str) or not all(_matches(target, layers) for target in chosen):
        raise UserError(f"PEFT knows no default target layers for {model.config.model_type}; ", *_offer(layers))
    if not asked:
        return list(chosen), None
    named, instead = ", ".join(asked), ", ".join(chosen)
    return list(chosen), f"{model.config.model_type} lacks layers {named}: PEFT's choice {instead} is adapted"


def encoder_linear_layers(model: PreTrainedModel) -> list[str]:
    """Returns the full names of the encoder's linear layers, 4-bit ones included; those trained whole are left out."""
    head = tuple(f"{name}." for name in head_modules(model))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not f"{name}.".startswith(head)
    ]


def _matches(target: str, layers: Sequence[str]) -> bool:
    return any(layer == target or layer.endswith(f".{target}") for layer in layers)


def _offer(layers: Sequence[str]) -> tuple[Part, ...]:
    tails = list(dict.fromkeys(_tail(layer) for layer in layers))
    last = [tail.rpartition(".")[2] for tail in tails]
    shortest = [name if last.count(name) == 1 else tail for tail, name in zip(tails, last, strict=True)]
    return "use ", Setting("model.method.target_modules", Placeholder("[...]")), f" with some of: {', '.join(shortest)}"


def _tail(layer: str) -> str:
    """Returns the part of a name after its last index, which all layers of a stack share."""
    parts = layer.split(".")
    indices = [position for position, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[indices[-1] + 1 :]) if indices else layer
