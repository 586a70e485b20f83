"""How much of a GPU's memory a run may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from peft_lightning.errors import Setting, UserError

GIB = 2**30


@contextmanager
def limited_memory(device: torch.device, limit_gib: float | None) -> Iterator[None]:
    """Holds torch, in this process, to so much memory of a GPU; asking for more is an out-of-memory error.

    CUDA itself, its kernels and libraries, takes some 0.5 GiB beside it, and so does what bitsandbytes pages.

    Args:
        device: the GPU.
        limit_gib: GiB that torch may allocate; None for all there is.

    Raises:
        UserError: it is no GPU, or a smaller one.
    """
    if limit_gib is None:
        yield
        return
    if device.type != "cuda":
        raise UserError(Setting("memory_limit_gib"), " limits a GPU's memory, and this run is on the CPU: leave it out")
    there = torch.cuda.get_device_properties(device).total_memory
    if limit_gib * GIB > there:
        raise UserError(
            Setting("memory_limit_gib"), f" {limit_gib:g} is more than the {there / GIB:.1f} GiB of this GPU"
        )
    torch.cuda.set_per_process_memory_fraction(limit_gib * GIB / there, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
