"""What each process of a run has, brought together in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Returns the values of all processes, in their order; one value where there is one process.

    The values may differ in size and lie on any device: torch's gathering of tensors takes neither uneven shares nor,
    on GPUs, tensors of the host.

    Args:
        value: This process's value. Every process must call this, at the same place.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def process_number() -> int:
    """Returns the number of this process among those of the run, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gathered_states(state: Tensor, group: object = None) -> list[Tensor]:
    """Gathers a state of a metric: torchmetrics' ``dist_sync_fn``.

    Args:
        state: This process's state.
        group: Not used: a run has one group of processes.

    Returns:
        The states on this process's device. Those of processes that saw no example are left out, because an empty
        state has lost its shape and its type.
    """
    states = gathered(state.detach().cpu())
    return [other.to(state.device) for other in states if other.numel()] or [state]


def largest(values: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Returns the largest value of all processes for each name.

    Args:
        values: The values of each process by name.
    """
    found: dict[str, int] = {}
    for other in values:
        found |= {name: max(value, found.get(name, value)) for name, value in other.items()}
    return found


def summed(values: Tensor) -> Tensor:
    """Returns the sum of a tensor over all processes, on its device and without waiting for it.

    Args:
        values: This process's tensor, which is not changed.
    """
    total = values.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
    return total
