"""A backbone whose weights are held in bf16, below a head that keeps 32 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peft_lightning.backbone.decoder_layers import restore_layers, take_narrow_layers
from peft_lightning.backbone.heads import head_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BackboneDtype = Literal["float32", "bfloat16", "smallest"]


class HalfWidthLayerNorm(nn.LayerNorm):
    """A layer norm whose output stays in bf16 where autocast would widen it to 32 bits.

    Every layer's output is kept for the backward pass, so its width matters. The kernel sums in 32 bits, whatever the
    type of its input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises activations.

        Args:
            input: The activations, shape (batch, length, width), in any floating point type.

        Returns:
            The normalised activations, the same shape, in bf16.
        """
        with torch.autocast(input.device.type, enabled=False):
            return F.layer_norm(
                input.to(torch.bfloat16), self.normalized_shape, _narrow(self.weight), _narrow(self.bias), self.eps
            )


def hold_in_bfloat16(model: PreTrainedModel) -> None:
    """Rounds a backbone's weights to bf16; the head and newly initialised modules stay in 32 bits.

    Args:
        model: A model just loaded, on the CPU; it is changed in place. Its 4-bit weights stay as they are.
    """
    whole = {id(parameter) for name in head_modules(model) for parameter in model.get_submodule(name).parameters()}
    for parameter in model.parameters():
        # Buffers are left alone: rotary frequencies need their 32 bits, and there are few of them.
        if parameter.is_floating_point() and id(parameter) not in whole:
            parameter.data = parameter.data.to(torch.bfloat16)
    for module in model.modules():
        if type(module) is nn.LayerNorm and not any(id(parameter) in whole for parameter in module.parameters()):
            module.__class__ = HalfWidthLayerNorm
    take_narrow_layers(model, getattr(model.config, "hidden_size", 0))


def hold_in_float32(model: PreTrainedModel) -> None:
    """Widens a backbone in bf16 to 32-bit floats, of the same values: a merge into bf16 would round updates away.

    Args:
        model: A model just loaded, before adapters are added; it is changed in place.
    """
    for parameter in model.parameters():
        if parameter.dtype == torch.bfloat16:
            parameter.data = parameter.data.float()
    for module in model.modules():
        if type(module) is HalfWidthLayerNorm:
            module.__class__ = nn.LayerNorm  # type: ignore[assignment]
    restore_layers(model)


def is_held_in_bfloat16(model: nn.Module) -> bool:
    """Tells whether any weights of a model, adapted or not, are in bf16."""
    return any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())


def _narrow(part: Tensor | None) -> Tensor | None:
    """Returns a weight or bias in bf16: trained biases of a frozen norm are in 32 bits, and some norms have no bias."""
    return None if part is None else part.to(torch.bfloat16)
