"""A limit for the GPU memory of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from peft_lightning.errors import Setting, UserError

GIB = 2**30


@contextmanager
def limited_memory(device: torch.device, limit_gib: float | None) -> Iterator[None]:
    """Limits the memory that torch, in this process, may allocate on a GPU; more is an out-of-memory error.

    CUDA, its kernels and its libraries take some 0.5 GiB beside it. What bitsandbytes pages does not count either.

    Args:
        device: The GPU.
        limit_gib: The limit in GiB; None for no limit.

    Raises:
        UserError: The device is no GPU, or has less memory than the limit.
    """
    if limit_gib is None:
        yield
        return
    if device.type != "cuda":
        raise UserError(Setting("memory_limit_gib"), " limits a GPU's memory, and this run is on the CPU: leave it out")
    total = torch.cuda.get_device_properties(device).total_memory
    if limit_gib * GIB > total:
        raise UserError(
            Setting("memory_limit_gib"), f" {limit_gib:g} is more than the {total / GIB:.1f} GiB of this GPU"
        )
    torch.cuda.set_per_process_memory_fraction(limit_gib * GIB / total, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
