"""Loads a backbone and adapts it by a method; combinations that do not work are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.half_width import hold_in_float32
from peft_lightning.backbone.heads import start_head
from peft_lightning.backbone.quantised import dequantise_where_packed
from peft_lightning.errors import Part, Setting, UserError

if TYPE_CHECKING:
    from peft_lightning.backbone.loading import Backbone
    from peft_lightning.methods import Method
    from peft_lightning.optim.optimizers import OptimizerName
    from peft_lightning.task.base import HeadStart


# The first holds wherever weights are; the others round stochastically, and not where weights are sharded.
_KEEPS_STEPS = (
    Setting("model.backbone_dtype", "float32"),
    ", or ",
    Setting("model.optimizer", "paged_adamw_8bit"),
    " or adamw_8bit",
)


def load_adapted(
    method: Method,
    backbone: Backbone,
    num_labels: int,
    gradient_checkpointing: bool = False,
    optimizer: OptimizerName = "adamw",
    head_start: HeadStart | None = None,
    plain: bool = False,
) -> nn.Module:
    """Loads a backbone with a classification head and makes it trainable in a method's way.

    Args:
        method: The method that adapts the backbone.
        backbone: The encoder, and the form of its weights.
        num_labels: Number of classes.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        optimizer: The optimiser that will train the network.
        head_start: Where a new head starts; None for where transformers initialises it.
        plain: Whether packed and narrow weights become 32-bit floats of the same values, which adapters can be merged
            into without loss.

    Returns:
        The network on the CPU, or on the meta device where the backbone is for that one, in training mode; exactly the
        weights to be trained require gradients.

    Raises:
        UserError: The backbone cannot be loaded, or does not go with the method, the optimiser or gradient
            checkpointing.
    """
    adapted = partial(_adapted, method, num_labels, gradient_checkpointing, optimizer, head_start, plain)
    return _without_values(adapted, backbone) if backbone.device.type == "meta" else adapted(backbone)


def refuse_training(
    method: Method, backbone: Backbone, precision: str, gradient_checkpointing: bool, optimizer: OptimizerName
) -> None:
    """Refuses what a method cannot be trained with, as far as the settings alone say it; nothing is read.

    Args:
        method: The method.
        backbone: The encoder in the form that the method needs.
        precision: The Trainer's precision.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        optimizer: The optimiser.

    Raises:
        UserError: The method gets no gradient, or its steps are lost in rounding.
    """
    if gradient_checkpointing:
        method.refuse_recomputing()
    if method.trains_backbone and optimizer == "adamw":
        if backbone.dtype != "float32":
            raise _loses_steps(method, Setting("model.backbone_dtype", backbone.dtype), *_KEEPS_STEPS)
        # Lightning then holds all weights in bf16, where a step of 2e-5 is lost in every weight above 0.008. From 320
        # reviews the embedded backbone learned 58.3 % so, and 65.1 % with adamw_8bit. Adapters take longer steps.
        if precision == "bf16-true":
            mend = (Setting("trainer.precision", "bf16-mixed"), ", or ", Setting("model.optimizer", "adamw_8bit"))
            raise _loses_steps(method, Setting("trainer.precision", precision), *mend)


def _without_values(adapted: Callable[[Backbone], nn.Module], backbone: Backbone) -> nn.Module:
    """Adapts a backbone on the meta device, or on the CPU where a method computes with its weights."""
    try:
        return adapted(backbone)
    except (NotImplementedError, RuntimeError, UserError):  # PiSSA, OLoRA and SHiRA; other mistakes are made again
        return adapted(replace(backbone, device=torch.device("cpu")))


def _adapted(
    method: Method,
    num_labels: int,
    gradient_checkpointing: bool,
    optimizer: OptimizerName,
    head_start: HeadStart | None,
    plain: bool,
    backbone: Backbone,
) -> nn.Module:
    pretrained = method.load_backbone(backbone, num_labels)
    if head_start is not None:
        start_head(pretrained, head_start.means, head_start.scales)
    if gradient_checkpointing:
        if not pretrained.supports_gradient_checkpointing:
            raise UserError(
                f"{backbone.name_or_path} cannot recompute its activations: use ",
                Setting("model.gradient_checkpointing", False),
            )
        recompute_activations(pretrained)
    if plain:
        dequantise_where_packed(pretrained)
        hold_in_float32(pretrained)
    model = method.adapt(pretrained)
    if backbone.dtype != "float32" and optimizer == "adamw" and _trains_in_bf16(model):
        raise _loses_steps(method, Setting("model.backbone_dtype", backbone.dtype), *_KEEPS_STEPS)
    # from_pretrained leaves all modules in eval mode, of which Lightning warns.
    return model.train()


def _loses_steps(method: Method, held_by: Setting, *mend: Part) -> UserError:
    return UserError(held_by, f": {method.name} trains weights in bf16, in which adamw loses small steps: use ", *mend)


def _trains_in_bf16(model: nn.Module) -> bool:
    return any(p.requires_grad and p.dtype == torch.bfloat16 for p in model.parameters())
