"""Casts all trained weights to half precision together, where autocast launches a kernel for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Lent = dict[Tensor, Tensor]
"""What stands for weights in a pass, by the weights: leaves in another type, whose gradients become theirs."""


@contextmanager
def cast_together(network: nn.Module, dtype: torch.dtype) -> Iterator[Lent]:
    """Lends linear layers their trained 32-bit weights in another type, all cast by one or two kernels.

    Autocast casts them to the same bits, but each at its use, and in compiled layers once more in the backward pass.
    Two things differ. A layer that looks at its weights' type sees the other type: LoRA's then rounds its input before
    its dropout. Where a weight is used more than once in a pass, as in ALBERT, its gradients add up in the other type,
    not in 32 bits, or in another order. The context has to hold the forward and the backward pass, which may compute
    activations again.

    Args:
        network: The network to train; only plain ``nn.Linear`` layers are lent weights, no quantised ones.
        dtype: The type that autocast would cast to.

    Yields:
        What was lent. The gradients that it still has when the context ends are cast and added to the weights' own.
    """
    places: list[tuple[dict[str, Any], str, Tensor]] = [
        (layer._parameters, name, weight)
        for layer in network.modules()
        if type(layer) is nn.Linear
        for name, weight in layer._parameters.items()
        if weight is not None and weight.requires_grad and weight.dtype == torch.float32
    ]
    # A weight that several layers share is cast once.
    weights = list({id(weight): weight for _, _, weight in places}.values())
    # Leaves: the backward pass computes a cast's gradient last of all, when it could have been on its way for long.
    lent: Lent = {w: c.requires_grad_() for w, c in zip(weights, cast(weights, dtype), strict=True)}
    for parameters, name, weight in places:
        parameters[name] = lent[weight]
    try:
        yield lent
    finally:
        for parameters, name, weight in places:
            parameters[name] = weight
    _give_gradients({weight: leaf.grad for weight, leaf in lent.items() if leaf.grad is not None})


def casts_together(network: nn.Module, compiled: bool) -> bool:
    """Tells whether captured steps under autocast cast their weights together.

    An adapter may look at its weights' type, as LoRA's does, and then rounds in another place. Compiled steps round
    differently anyway.

    Args:
        network: The network to train.
        compiled: Whether its layers are compiled before the steps are captured.
    """
    return compiled or all(weight.requires_grad for weight in network.parameters())


def _give_gradients(computed: Mapping[Tensor, Tensor]) -> None:
    """Casts gradients to 32 bits, and adds them to those that their weights have."""
    wide = cast(list(computed.values()), torch.float32)
    grown = [(weight.grad, more) for weight, more in zip(computed, wide, strict=True) if weight.grad is not None]
    if grown:
        torch._foreach_add_([gradient for gradient, _ in grown], [more for _, more in grown])
    for weight, more in zip(computed, wide, strict=True):
        weight.grad = more if weight.grad is None else weight.grad


@torch.no_grad()
def cast(values: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Returns tensors of one type in another, cast by one or two kernels.

    Args:
        values: The tensors.
        dtype: The other type.
    """
    others = [torch.empty_like(value, dtype=dtype, requires_grad=False) for value in values]
    if others:
        torch._foreach_copy_(others, list(values))
    return others
