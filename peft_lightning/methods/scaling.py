"""IA3's scaling of bf16 activations without the 32-bit copies that PEFT makes and autograd keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.ia3.layer import Linear
from torch import Tensor, nn


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
        (adapter,) = self.active_adapters
        scale = self.ia3_l[adapter].flatten()
        scaled: Callable[[Tensor, Tensor], Tensor] = _Scaled.apply
        if self.is_feedforward:
            result: Tensor = self.base_layer(scaled(x, scale), *args, **kwargs)
            return result
        return scaled(self.base_layer(x, *args, **kwargs), scale)


class _Scaled(torch.autograd.Function):
    """Computes x · scale in the type of x; of the activations only x is kept for the backward pass.

    It computes x + x · (scale - 1) and rounds scale - 1, not the scale: a rounded scale near 1 would lose what it
    learns.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return torch.addcmul(x, x, (scale - 1).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        x, scale = ctx.saved_tensors
        of_scale = (x * gradient).flatten(0, -2).sum(0, dtype=scale.dtype)
        return torch.addcmul(gradient, gradient, (scale - 1).to(gradient.dtype)), of_scale


def narrow_scaling(model: nn.Module) -> None:
    """Lets every IA3 layer of a model keep its activations in their own type.

    Args:
        model: The PEFT model, not merged; it is changed in place.
    """
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = NarrowScaling
