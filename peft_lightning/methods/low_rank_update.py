"""LoRA's update with fewer kernels in half precision; in wide models it keeps neither inputs nor masks of dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from peft_lightning.backbone.computed_again import recipe_of
from peft_lightning.methods.shared_cast import autocast_dtype

# From here on the memory is worth a second draw: at 7 billion weights, adapters beside all linear layers and 8 × 256
# tokens, dropped inputs and masks are 0.24 of the 0.43 GiB that each layer keeps.
_WIDE = 2048


def forward_lean(layer: Any, own: Callable[..., Tensor], x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Computes a LoRA layer: in a training step in half precision by fewer kernels, else as PEFT does.

    Args:
        layer: The layer.
        own: PEFT's own forward.
        x: Inputs, (…, inputs).
        args: Further ones of the layer below.
        named: The same by name.

    Returns:
        The outputs, (…, outputs).
    """
    adapters = [name for name in layer.active_adapters if name in layer.lora_A]
    plain = len(adapters) == 1 and not layer.disable_adapters and not layer.merged and not named
    dtype = autocast_dtype(x)
    # A compiler fuses PEFT's own kernels, and chooses by itself what to keep. Without gradients PEFT's are kept, so
    # that a model answers here as it does where it is loaded later.
    trains = layer.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if not trains or not plain or dtype is None or dtype.itemsize != 2:
        return own(x, *args, **named)
    (name,) = adapters
    down, up, dropout = layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
    probability = getattr(dropout, "p", 0.0) if dropout.training else 0.0
    # On a CPU masks are drawn otherwise, four values at a time; elsewhere they cannot be drawn again.
    drawn = probability > 0 and x.device.type != "cuda"
    if drawn or name in layer.lora_variant or up.bias is not None:
        return own(x, *args, **named)
    outputs = layer.base_layer(x, *args)
    narrowed = x.to(dtype)
    updated = _Update.apply(  # type: ignore[no-untyped-call]
        outputs, narrowed, down.weight, up.weight, layer.scaling[name], probability
    )
    return cast(Tensor, updated)


class _Update(Function):
    """outputs + scaling × dropout(x)·Aᵀ·Bᵀ, in the type of x.

    In a wide model the backward pass draws the mask again and makes x again where that says how. What is kept is
    then the rank's share, (tokens, r).
    """

    @staticmethod
    def forward(
        ctx: Any, outputs: Tensor, x: Tensor, down: Tensor, up: Tensor, scaling: float, probability: float
    ) -> Tensor:
        ctx.scaling, ctx.probability, ctx.dtype, ctx.wide = scaling, probability, x.dtype, x.shape[-1] >= _WIDE
        narrow_down, narrow_up = down.to(x.dtype), up.to(x.dtype)
        ctx.drawn_from = _random_state(x.device) if ctx.wide and probability else None
        dropped, mask = _drop(x, probability)
        hidden = dropped.reshape(-1, x.shape[-1]) @ narrow_down.mT
        if outputs.dtype == x.dtype:
            rows = outputs.reshape(-1, outputs.shape[-1])
            result = torch.addmm(rows, hidden, narrow_up.mT, alpha=scaling).view(outputs.shape)
        else:
            result = torch.add(outputs, (hidden @ narrow_up.mT).view(outputs.shape), alpha=scaling)
        ctx.recipe = None
        if ctx.wide:
            recipe = recipe_of(x)
            ctx.recipe = recipe and recipe.function
            ctx.save_for_backward(hidden, down, up, *(recipe.inputs if recipe else (x,)))
        else:
            ctx.save_for_backward(hidden, narrow_down, narrow_up, dropped, mask)
        ctx.down_dtype, ctx.up_dtype = down.dtype, up.dtype
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, down, up, *inputs = ctx.saved_tensors
        down, up = down.to(ctx.dtype), up.to(ctx.dtype)
        by_row = gradient.to(ctx.dtype).reshape(-1, gradient.shape[-1])
        by_up = _scaled_product(by_row.mT, hidden, ctx.scaling).to(ctx.up_dtype)
        by_hidden = _scaled_product(by_row, up, ctx.scaling)
        del by_row
        if ctx.wide:
            x = inputs[0] if ctx.recipe is None else _made_again(ctx.recipe, inputs)
            dropped, mask = _drop(x, ctx.probability, ctx.drawn_from)
            del x
        else:
            dropped, mask = inputs
        by_down = (by_hidden.mT @ dropped.reshape(-1, dropped.shape[-1])).to(ctx.down_dtype)
        shape = dropped.shape
        del dropped, inputs
        by_input = None
        if ctx.needs_input_grad[1]:
            scale = 1 / (1 - ctx.probability) if ctx.probability < 1 else 0.0
            by_input = _scaled_product(by_hidden, down, scale).view(shape)
            if mask is not None:
                by_input.mul_(mask)
        return gradient, by_input, by_down, by_up, None, None


def _made_again(recipe: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
    """Makes inputs again, to the same bits in a backward pass within autocast too.

    On a GPU autocast has norms in 32 bits, of which another mask may be drawn.
    """
    with torch.autocast(inputs[0].device.type, enabled=False):
        return recipe(*inputs)


def _scaled_product(first: Tensor, second: Tensor, scaling: float) -> Tensor:
    """Multiplies two matrices and the product by a number, in one kernel."""
    return torch.addmm(first.new_empty(()), first, second, beta=0, alpha=scaling)


def _drop(x: Tensor, probability: float, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Zeroes values at random and scales the others.

    Args:
        x: The values.
        probability: How many are zeroed, in [0, 1].
        state: The state of the device's generator that the mask is drawn from; None goes on with the present one.

    Returns:
        The values, and the mask of those that are left; without dropout the values given and None.
    """
    if not probability:
        return x, None
    if state is None:
        dropped, mask = torch.native_dropout(x, probability, True)
        return dropped, mask
    present = _random_state(x.device)
    _set_random_state(x.device, state)
    try:
        dropped, mask = torch.native_dropout(x, probability, True)
    finally:
        _set_random_state(x.device, present)
    return dropped, mask


def _random_state(device: torch.device) -> Tensor:
    # While a graph is captured this is the place in the graph's own sequence.
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
