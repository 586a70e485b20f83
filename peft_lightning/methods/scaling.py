"""IA3's scaling of bf16 activations without the 32-bit copies that PEFT makes and autograd keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def narrowly_scaled(layer: Any, own: Callable[..., Tensor], x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Computes what an IA3 layer does, whatever holds its weight.

    Args:
        layer: The layer.
        own: PEFT's own forward pass, for the states that are not trained in.
        x: The inputs, (…, inputs).
        args: Further arguments of the forward pass.
        named: Further arguments by name.

    Returns:
        The outputs in their own type, (…, outputs).
    """
    adapters = [name for name in layer.active_adapters if name in layer.ia3_l]
    if layer.disable_adapters or layer.merged or len(adapters) != 1:
        return own(x, *args, **named)
    scale = layer.ia3_l[adapters[0]].flatten()
    scaled: Callable[[Tensor, Tensor], Tensor] = _Scaled.apply
    if layer.is_feedforward:
        result: Tensor = layer.base_layer(scaled(x, scale), *args, **named)
        return result
    return scaled(layer.base_layer(x, *args, **named), scale)


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
