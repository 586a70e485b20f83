"""The values of the first process, handed on to the others: a host reads a model once, however many devices it has."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor

# A tensor, and what stands in its place, by the numbers of both.
Placed = dict[int, tuple[Tensor, Tensor]]


class FirstValues:
    """Gives the parts of a network the first process's values, in the order in which all processes ask for them.

    torch's ``set_model_state_dict(broadcast_from_rank0=True)`` does so for a network that is sharded already and whose
    buffers are all in its state; here each layer is sharded, and what it held freed, before the next one comes.

    Args:
        device: Where the values are to be.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: Placed = {}

    def give(self, part: nn.Module) -> None:
        """Gives a part its values; what is spread already is left alone.

        Args:
            part: The part: with its values in the first process; in the others they, or the lack of them, do not count.
        """
        # Parts share no weights, and what was sharded is freed; they may share buffers, as VeRA's layers do.
        weights: Placed = {}
        for module in part.modules():
            self._fill(module._parameters, weights)
            self._fill(module._buffers, self._buffers)

    def _fill(self, tensors: MutableMapping[str, Any], placed: Placed) -> None:
        for name, tensor in tensors.items():
            if tensor is None or isinstance(tensor, DTensor):
                continue
            if id(tensor) not in placed:
                # Beside what it stands for, whose number would else be another's.
                values = self._at_its_place(tensor)
                placed[id(tensor)] = placed[id(values)] = tensor, values
            tensors[name] = placed[id(tensor)][1]
            # What modules share is sent for each: so processes need not agree on what that is. As bytes: not every
            # group sends every type.
            if dist.get_world_size() > 1 and tensor.numel():
                dist.broadcast(tensors[name].detach().view(-1).view(torch.uint8), src=0)

    def _at_its_place(self, tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            tensor.data = tensor.detach().to(self._device).contiguous()
            return tensor
        values = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)
        is_weight = isinstance(tensor, nn.Parameter)
        return nn.Parameter(values, requires_grad=tensor.requires_grad) if is_weight else values
