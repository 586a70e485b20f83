"""From a backbone to the network that is trained: loaded and adapted by a method, refused where they do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from peft_lightning.backbone.loading import Backbone
    from peft_lightning.methods import Method
    from peft_lightning.optim.optimizers import OptimizerName


def load_adapted(
    method: Method,
    backbone: Backbone,
    num_labels: int,
    gradient_checkpointing: bool = False,
    optimizer: OptimizerName = "adamw",
) -> nn.Module:
    """Loads a backbone with a classification head and makes it trainable in a method's way.

    Args:
        method: how it is adapted.
        backbone: which encoder, and how its weights are held.
        num_labels: number of classes.
        gradient_checkpointing: recompute activations in the backward pass.
        optimizer: what is to train it.

    Returns:
        The network on the CPU, in training mode; exactly the weights to be trained require gradients.

    Raises:
        UserError: the backbone cannot be loaded, or does not go with the method or with what else is asked.
    """
    pretrained = method.load_backbone(backbone, num_labels)
    if gradient_checkpointing:
        if not pretrained.supports_gradient_checkpointing:
            raise UserError(
                f"{backbone.name_or_path} cannot recompute its activations: leave ",
                Setting("model.gradient_checkpointing"),
                " out",
            )
        recompute_activations(pretrained)
    model = method.adapt(pretrained)
    if backbone.dtype != "float32" and optimizer == "adamw" and _trains_in_bf16(model):
        raise UserError(
            Setting("model.backbone_dtype", backbone.dtype),
            f": {method.name} trains weights in bf16, in which adamw loses small steps: use ",
            Setting("model.optimizer", "paged_adamw_8bit"),
            " or adamw_8bit",
        )
    # Lightning warns of modules in eval mode, which from_pretrained leaves all of them in.
    return model.train()


def _trains_in_bf16(model: nn.Module) -> bool:
    return any(p.requires_grad and p.dtype == torch.bfloat16 for p in model.parameters())
