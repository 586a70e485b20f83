"""Casts all trained weights to half precision together, where autocast launches a kernel for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def cast_together(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Lends linear layers their trained 32-bit weights in another type, all cast by one or two kernels.

    Autocast casts them to the same bits, but each at its use, and in compiled layers once more in the backward pass.
    Two things differ. A layer that looks at its weights' type sees the other type: LoRA's then rounds its input before
    its dropout. Where a weight is used more than once in a pass, as in ALBERT, its gradients add up in the other type,
    not in 32 bits. The context has to hold the forward and the backward pass, which may compute activations again.

    Args:
        network: The network to train; only plain ``nn.Linear`` layers are lent weights, no quantised ones.
        dtype: The type that autocast would cast to.
    """
    places = [
        (layer._parameters, name, weight)
        for layer in network.modules()
        if type(layer) is nn.Linear
        for name, weight in layer._parameters.items()
        if weight is not None and weight.requires_grad and weight.dtype == torch.float32
    ]
    if not places:
        yield
        return
    # A weight that several layers share is cast once.
    weights = list({id(weight): weight for _, _, weight in places}.values())
    lent = dict(zip(map(id, weights), _Cast.apply(dtype, *weights), strict=True))  # type: ignore[no-untyped-call]
    for parameters, name, weight in places:
        parameters[name] = lent[id(weight)]
    try:
        yield
    finally:
        for parameters, name, weight in places:
            parameters[name] = weight


def casts_together(network: nn.Module, compiled: bool) -> bool:
    """Tells whether captured steps under autocast cast their weights together.

    An adapter may look at its weights' type, as LoRA's does, and then rounds in another place. Compiled steps round
    differently anyway.

    Args:
        network: The network to train.
        compiled: Whether its layers are compiled before the steps are captured.
    """
    return compiled or all(weight.requires_grad for weight in network.parameters())


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(_cast(weights, dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        computed = [gradient for gradient in gradients if gradient is not None]
        cast = iter(_cast(computed, torch.float32))
        return None, *(None if gradient is None else next(cast) for gradient in gradients)


def _cast(values: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    cast = [torch.empty_like(value, dtype=dtype) for value in values]
    if cast:
        torch._foreach_copy_(cast, list(values))
    return cast
