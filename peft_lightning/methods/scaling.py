"""IA3's scaling of activations in bf16: computed in 32 bits as PEFT does it, but kept for the backward pass in 16."""

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
    """x · scale in the type of x, of which x alone is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return (x * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        x, scale = ctx.saved_tensors
        # Text by text: widened all at once, the two would take what keeping x in bf16 saved.
        of_scale = torch.zeros_like(scale)
        for one, its_gradient in zip(x, gradient, strict=True):
            of_scale += (one.to(scale.dtype) * its_gradient).flatten(0, -2).sum(0)
        return (gradient * scale).to(x.dtype), of_scale


def narrow_scaling(model: nn.Module) -> None:
    """Let every IA3 layer of a model keep its activations in the type they have.

    Args:
        model: the PEFT model, not merged; it is changed in place.
    """
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = NarrowScaling
