"""An encoder whose weights are held in bf16, below a head that keeps 32 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peft_lightning.backbone.heads import head_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BackboneDtype = Literal["float32", "bfloat16", "smallest"]


class HalfWidthLayerNorm(nn.LayerNorm):
    """A layer norm that stays in bf16 where autocast would widen it: what it hands on is kept for every layer.

    The kernel itself sums in 32 bits, whatever its input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises.

        Args:
            input: (batch, length, width), in any type.

        Returns:
            The same shape, in bf16.
        """
        with torch.autocast(input.device.type, enabled=False):
            return F.layer_norm(
                input.to(torch.bfloat16), self.normalized_shape, _narrow(self.weight), _narrow(self.bias), self.eps
            )


def hold_in_bfloat16(model: PreTrainedModel) -> None:
    """Round an encoder's weights to bf16; the head, and what the checkpoint lacked, stay in 32 bits.

    Args:
        model: a model just loaded, on the CPU; it is changed in place. Weights of four bits stay as they are.
    """
    whole = {id(parameter) for name in head_modules(model) for parameter in model.get_submodule(name).parameters()}
    for parameter in model.parameters():
        # Buffers are left alone: rotary frequencies need their 32 bits, and there are few of them.
        if parameter.is_floating_point() and id(parameter) not in whole:
            parameter.data = parameter.data.to(torch.bfloat16)
    for module in model.modules():
        if type(module) is nn.LayerNorm and not any(id(parameter) in whole for parameter in module.parameters()):
            module.__class__ = HalfWidthLayerNorm


def is_held_in_bfloat16(model: nn.Module) -> bool:
    """Tells whether any weights of a model are in bf16.

    Args:
        model: adapted or not.
    """
    return any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())


def _narrow(part: Tensor | None) -> Tensor | None:
    """Biases that are trained beside a frozen norm are in 32 bits; some norms have none."""
    return None if part is None else part.to(torch.bfloat16)
