"""IA3's scaling of activations in bf16, without the copies in 32 bits that PEFT makes and autograd keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.ia3.layer import Linear
from torch import Tensor, nn


class NarrowScaling(Linear):
    """PEFT's IA3 layer, without a copy of its widest activation in 32 bits.

    PEFT widens the feed-forward's input before it multiplies, and autograd keeps what was widened: of all that a layer
    keeps that is the most.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Scales the layer's input or its output.

        Args:
            x: (batch, length, width), in bf16 below autocast.
            args: the layer's own further arguments.
            kwargs: likewise.

        Returns:
            What the layer makes of it, in the type of its own output.
        """
        (adapter,) = self.active_adapters
        scale = self.ia3_l[adapter].flatten()
        scaled: Callable[[Tensor, Tensor], Tensor] = _Scaled.apply
        if self.is_feedforward:
            result: Tensor = self.base_layer(scaled(x, scale), *args, **kwargs)
            return result
        return scaled(self.base_layer(x, *args, **kwargs), scale)


class _Scaled(torch.autograd.Function):
    """x · scale in the type of x, of which x alone is kept.

    What is added to x is rounded to that type, not the scale: a scale near 1 would lose what it learns.
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
    """Let every IA3 layer of a model keep its activations in the type they have.

    Args:
        model: the PEFT model, not merged; it is changed in place.
    """
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = NarrowScaling
