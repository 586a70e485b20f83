"""IA3's layers, which keep their activations in their own type."""

from __future__ import annotations

from typing import Any

from peft.tuners.ia3.layer import Linear
from torch import Tensor, nn

from peft_lightning.backbone.quantised import is_packed
from peft_lightning.methods.scaling import narrowly_scaled


class NarrowScaling(Linear):
    """PEFT's IA3 layer without a 32-bit copy of its widest activation.

    PEFT widens the feed-forward layer's input before it multiplies. Autograd keeps the widened copy, the largest tensor
    that it keeps of a layer.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Scales the layer's input where it is a feed-forward layer, else its output.

        Args:
            x: The input, shape (batch, length, width), in bf16 under autocast.
            args: The layer's further arguments.
            kwargs: The layer's further arguments by name.

        Returns:
            The layer's output, in its own type.
        """
        return narrowly_scaled(self, super().forward, x, *args, **kwargs)


def narrow_scaling(model: nn.Module) -> None:
    """Lets every IA3 layer of a model keep its activations in their own type.

    Args:
        model: The PEFT model, not merged; it is changed in place.
    """
    places: dict[type[nn.Module], type[nn.Module]] = {Linear: NarrowScaling}
    if is_packed(model):
        from peft_lightning.methods.packed_layers import NARROW

        places |= NARROW
    for module in model.modules():
        module.__class__ = places.get(type(module), type(module))
