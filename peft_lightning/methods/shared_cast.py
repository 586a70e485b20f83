"""One cast of a layer's inputs for the layer and its adapter, where autocast makes one for each."""

from __future__ import annotations

import torch
from torch import Tensor


def autocast_dtype(inputs: Tensor) -> torch.dtype | None:
    """Returns the type that autocast gives the inputs of a product; None where it leaves them alone.

    Args:
        inputs: The inputs.
    """
    device = inputs.device.type
    # Of a device that has no autocast, as `meta` has none, torch cannot be asked whether it is on. Nothing is compiled
    # for one, and the question would split a compiled layer in two (torch 2.11).
    if not torch.compiler.is_compiling() and not torch.amp.is_autocast_available(device):
        return None
    if not torch.is_autocast_enabled(device):
        return None
    if inputs.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(device)


def cast_once(inputs: Tensor) -> Tensor:
    """Casts inputs to the type that autocast gives them in every product.

    Args:
        inputs: The inputs of several products.

    Returns:
        The cast inputs; the inputs themselves without autocast.
    """
    dtype = autocast_dtype(inputs)
    return inputs if dtype is None else inputs.to(dtype)
