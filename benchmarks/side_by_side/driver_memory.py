"""How much memory a process takes: as torch's allocator counts it, and as the driver does from outside."""

from __future__ import annotations

import resource

import torch

GIB = 2**30


def peaks() -> dict[str, float | None]:
    """This process's peaks so far in GiB; null where the machine has no GPU."""
    on_gpu = torch.cuda.is_available()
    return {
        # On Linux in KiB. The processes of loaders are not in it.
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / GIB if on_gpu else None,
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / GIB if on_gpu else None,
    }


class DriverMemory:
    """Samples what is in use on the GPU as the driver counts it, less what was in use before the process began.

    That counts what lies outside torch's allocator too: the CUDA context, libraries, and the managed memory of
    bitsandbytes' paged optimisers. It is read by the process that waits, so that the one that trains is left alone.
    """

    def __init__(self) -> None:
        self._before = self._peak = used_on_gpu()

    def sample(self) -> None:
        """Takes a reading."""
        used = used_on_gpu()
        if used is not None and self._peak is not None:
            self._peak = max(self._peak, used)

    @property
    def peak_gib(self) -> float | None:
        """The highest reading in GiB; None without a GPU."""
        return None if self._peak is None or self._before is None else (self._peak - self._before) / GIB


def used_on_gpu() -> int | None:
    """Bytes in use on the GPU by all processes; None without one."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free
