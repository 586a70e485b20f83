"""Tensors that are spread over the processes of a run: their whole values, this process's part, and the way back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from peft_lightning.runs.host_copies import host_memory_like
from peft_lightning.task.gathering import summed


def own_part(tensor: Tensor) -> Tensor:
    """Returns the part of a tensor that lies on this process's device; of a tensor that is not spread, all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Returns a tensor with its values of all processes; every process must call this, at the same place."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tells whether all values are finite; of spread tensors those of all processes, at the same place in each.

    Args:
        tensors: Tensors of one device.
    """
    given = list(tensors)
    # Of a tensor with fewer rows than there are processes some have no value, and no largest one.
    parts = [part for part in map(own_part, given) if part.numel()]
    finite = torch.isfinite(get_total_norm(parts, norm_type=math.inf)) if parts else torch.tensor(True)
    if not any(isinstance(tensor, DTensor) for tensor in given):
        return bool(finite)
    broken = (~finite).float().to(own_part(given[0]).device)
    return bool(summed(broken) == 0)


def gathered_weights(module: nn.Module, keep: bool) -> dict[str, Tensor]:
    """Returns the trained weights of all processes, on the host.

    Args:
        module: The module.
        keep: Whether this process needs them; the others help to gather them, one at a time, and keep nothing.
    """
    trained = ((name, value) for name, value in module.named_parameters() if value.requires_grad)
    return _on_host({name: value.detach() for name, value in trained}, keep)


def gathered_moments(optimizer: Optimizer, keep: bool) -> dict[str, Any]:
    """Returns an optimiser's state as it would be in one process, on the host.

    Args:
        optimizer: An optimiser whose state is spread as its weights are.
        keep: Whether this process needs it.
    """
    state = optimizer.state_dict()
    gathered = {number: _on_host(values, keep) for number, values in state["state"].items()}
    return {"state": gathered if keep else {}, "param_groups": state["param_groups"]}


def spread_weights(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Sets weights from their whole values; those without a value stay as they are.

    Args:
        module: The module.
        values: The values by the weights' names, as ``gathered_weights`` returned them.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in values:
                own_part(parameter).copy_(_share_of(values[name], parameter))


def spread_moments(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Sets an optimiser's state from that of one process.

    Args:
        optimizer: The optimiser, made of the weights as they are spread.
        state: What ``gathered_moments`` or an unspread optimiser's ``state_dict`` returned.
    """
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    spread = {
        number: {name: _like(value, parameters[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({"state": spread, "param_groups": state["param_groups"]})


def _on_host(values: Mapping[str, Any], keep: bool) -> dict[str, Any]:
    gathered = {}
    for name, value in values.items():
        full = whole(value) if isinstance(value, Tensor) else value
        if keep:
            gathered[name] = _copied(full) if isinstance(full, Tensor) else full
    return gathered


def _copied(value: Tensor) -> Tensor:
    """Returns a tensor on the host, with a storage of its size: of a part of a longer one files would hold it all."""
    if value.device.type == "cpu":
        return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()
    return host_memory_like(value).copy_(value)


def _like(value: Any, parameter: Tensor) -> Any:
    if not (isinstance(value, Tensor) and isinstance(parameter, DTensor) and value.shape == parameter.shape):
        return value
    part = _share_of(value, parameter).to(parameter.to_local().device)
    return DTensor.from_local(
        part, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def _share_of(value: Tensor, parameter: Tensor) -> Tensor:
    """Cuts this process's rows out of a whole value, as FSDP2 has cut the parameter.

    ``distribute_tensor`` would do the same, and give all GPUs the first one's random state at its first call.
    """
    if not isinstance(parameter, DTensor):
        return value
    mesh = parameter.device_mesh
    rows = value.chunk(mesh.size())
    number = mesh.get_local_rank()
    return rows[number].clone() if number < len(rows) else value[:0].clone()
