"""A network spread over devices by FSDP2: when layers are gathered and dropped, and how gradients are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from peft_lightning.engine.first_values import FirstValues
from peft_lightning.engine.gradient_exchange import GradientExchange
from peft_lightning.engine.sharded_layers import stacks_of
from peft_lightning.task.gathering import gathered


def spread_network(
    network: nn.Module, mesh: DeviceMesh, device: torch.device, dtype: torch.dtype, on_one_host: bool
) -> None:
    """Shards each layer of a network that the first process holds whole on the host, and what is outside the layers.

    The others get its values one layer at a time, so that a host holds them once and not once a process.

    Weights that are trained and frozen ones may be in one layer. Where all are trained, a precision of 16 bits gathers
    and computes a layer in these. Gradients are averaged in 32 bits.

    Args:
        network: The network.
        mesh: The devices, in one dimension.
        device: The device of this process.
        dtype: The type that the network is computed in.
        on_one_host: Whether all devices are of one host.
    """
    trains_all = all(value.requires_grad for value in network.parameters())
    # Adapters keep their 32 bits, which some compute with (BOFT's inverse has no kernel in 16). A frozen backbone is
    # gathered in bf16 where it is held so. Autocast chooses the types of operations, so inputs are not cast.
    policy = MixedPrecisionPolicy(
        param_dtype=dtype if trains_all else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    values = FirstValues(device)
    stacks = stacks_of(network)
    kept = kept_layers(stacks, min(gathered(_room_beside(network, device, mesh.size()))), policy.param_dtype)
    for layer in (layer for stack in stacks for layer in stack):
        values.give(layer)
        fully_shard(layer, mesh=mesh, reshard_after_forward=layer not in kept, mp_policy=policy)
    values.give(network)
    # What is outside the layers stays gathered: the backward pass starts with it.
    fully_shard(network, mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    for whole in (*kept, network):
        whole.register_forward_hook(_drop_after_evaluation)
    # Python takes longer to launch a layer than a GPU to compute it (7 billion weights, 8 x 256 tokens): gathered when
    # it is launched, the next one's weights would come when this one is done.
    for stack in stacks:
        for part, following in pairwise(map(_part, stack)):
            part.set_modules_to_forward_prefetch([following])
    if trains_all and dtype.itemsize < torch.float32.itemsize and on_one_host:
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.set_custom_reduce_scatter(GradientExchange(dtype))


def drop_gathered(network: nn.Module) -> None:
    """Drops what was gathered ahead for layers that have not run since, where other weights have come.

    FSDP2 does so after a backward pass. After an evaluation it waits for the layer's next turn: of layers that run in
    another order than they are listed in, one would take the weights of before.

    Args:
        network: The network, or a module around it; every process must call this.
    """
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.unshard()
            module.reshard()


def kept_layers(stacks: Sequence[Sequence[nn.Module]], room: int, dtype: torch.dtype | None) -> list[nn.Module]:
    """Returns the layers that stay gathered between the forward and the backward pass, which else gathers them again.

    They are each stack's last ones, whose turn in the backward pass comes first.

    Args:
        stacks: The layers, not sharded yet.
        room: Bytes that they may take when they are gathered.
        dtype: The type that they are gathered in; None for their weights' own.
    """
    kept: list[nn.Module] = []
    for layer in reversed([layer for stack in stacks for layer in stack]):
        room -= sum(value.numel() * (dtype or value.dtype).itemsize for value in layer.parameters())
        if room < 0:
            break
        kept.append(layer)
    return kept


def _room_beside(network: nn.Module, device: torch.device, devices: int) -> int:
    """Returns the bytes in which a device may keep layers gathered: a quarter of what training leaves free.

    The rest is for activations, which are not known yet, and for what the allocator cannot use.

    Args:
        network: The network, not sharded yet.
        device: The device of this process.
        devices: How many the network is spread over.
    """
    if device.type != "cuda":
        return 0
    sizes = [(value.nbytes, value.requires_grad) for value in network.parameters()]
    # Weights; of trained ones gradients and AdamW's two moments as well.
    taken = sum(size * (4 if is_trained else 1) for size, is_trained in sizes) // devices
    return (torch.cuda.mem_get_info(device)[0] - taken) // 4


def _part(module: nn.Module) -> FSDPModule:
    assert isinstance(module, FSDPModule)  # which sharding makes it
    return module


def _drop_after_evaluation(module: nn.Module, *passed: Any) -> None:
    """Drops what is kept gathered in training: its weights would be others than the optimiser's after the next step."""
    if not torch.is_grad_enabled():
        _part(module).reshard()
