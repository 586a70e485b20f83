"""Finds the linear layers of an architecture that a method adapts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.last_token import is_last_token_classifier
from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import Part, Placeholder, Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
# Most decoders name their layers as Llama does.
_RELATIVE = "llama"
# The layers of BERT and RoBERTa, which recipes for encoders name. Another architecture may lack them.
_OF_RECIPES = frozenset(
    ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense", "LayerNorm")
)


def resolve_targets(
    model: PreTrainedModel,
    asked: Sequence[str] | str | None,
    default: Sequence[str] | None,
    mapping: Mapping[str, Sequence[str] | str],
    or_all: bool = False,
) -> tuple[list[str], str | None]:
    """Finds the layers to adapt: those asked for where the model has them, else PEFT's choice for the architecture.

    Args:
        model: The model to adapt.
        asked: Suffixes of layer names; ``all-linear`` for all linear layers of the encoder; None for PEFT's choice.
        default: The method's default. Where the model lacks its layers, PEFT's choice replaces it; the user's own
            choice is never replaced.
        mapping: PEFT's choice by model type. A decoder that is not in it gets Llama's, if it has layers of these names.
        or_all: Whether a decoder without any choice gets all linear layers.

    Returns:
        The suffixes, and a note where they are not the ones asked for.

    Raises:
        UserError: The model has no layers with the user's suffixes, or there is no choice for this architecture.
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
    kind = model.config.model_type
    known = kind_in(mapping, model)
    chosen = None if known is None else mapping[known]
    if chosen is None or isinstance(chosen, str) or not all(_matches(target, layers) for target in chosen):
        if or_all and is_last_token_classifier(model):
            return layers, f"PEFT has no choice of layers for {kind}: all its linear layers are adapted"
        raise UserError(f"PEFT knows no default target layers for {kind}; ", *_offer(layers))
    instead = ", ".join(chosen)
    if known != kind:
        return list(chosen), f"PEFT has no choice of layers for {kind}: {known}'s, {instead}, is adapted"
    if not asked:
        return list(chosen), None
    return list(chosen), f"{kind} lacks layers {', '.join(asked)}: PEFT's choice {instead} is adapted"


def check_targets(model: PreTrainedModel, asked: Sequence[str]) -> tuple[list[str], str | None]:
    """Checks suffixes that a configuration of PEFT's names: PEFT passes over those that match no layer.

    Args:
        model: The model to adapt.
        asked: Suffixes of layer names.

    Returns:
        The suffixes that the model has, and a note where a recipe for encoders names others; none if it lacks all.

    Raises:
        UserError: The model lacks a layer that no recipe names.
    """
    named = [name for name, _ in model.named_modules()]
    lacking = [target for target in asked if not _matches(target, named)]
    kind = model.config.model_type
    for target in lacking:
        if target not in _OF_RECIPES:
            offer = _offer(encoder_linear_layers(model), "model.method.config.target_modules")
            raise UserError(f"{kind} has no layer {target!r}; ", *offer)
    return [target for target in asked if target not in lacking], (
        f"{kind} lacks layers {', '.join(lacking)}" if lacking else None
    )


def kind_in(mapping: Mapping[str, Sequence[str] | str], model: PreTrainedModel) -> str | None:
    """Returns the architecture whose choice of layers a model takes: its own, or Llama's where its layers are named so.

    Args:
        mapping: A choice of layers by model type.
        model: The model to adapt.

    Returns:
        A model type in ``mapping``; None if there is none.
    """
    kind: str = model.config.model_type
    if kind in mapping:
        return kind
    layers = encoder_linear_layers(model)
    akin = is_last_token_classifier(model) and all(_matches(target, layers) for target in mapping[_RELATIVE])
    return _RELATIVE if akin else None


def encoder_linear_layers(model: PreTrainedModel) -> list[str]:
    """Returns the full names of the encoder's linear layers, 4-bit ones included; those trained whole are left out."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, whose weight lies the other way round

    head = tuple(f"{name}." for name in head_modules(model))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not f"{name}.".startswith(head)
    ]


def _matches(target: str, layers: Sequence[str]) -> bool:
    return any(layer == target or layer.endswith(f".{target}") for layer in layers)


def _offer(layers: Sequence[str], setting: str = "model.method.target_modules") -> tuple[Part, ...]:
    tails = list(dict.fromkeys(_tail(layer) for layer in layers))
    last = [tail.rpartition(".")[2] for tail in tails]
    shortest = [name if last.count(name) == 1 else tail for tail, name in zip(tails, last, strict=True)]
    return "use ", Setting(setting, Placeholder("[...]")), f" with some of: {', '.join(shortest)}"


def _tail(layer: str) -> str:
    """Returns the part of a name after its last index, which all layers of a stack share."""
    parts = layer.split(".")
    indices = [position for position, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[indices[-1] + 1 :]) if indices else layer
