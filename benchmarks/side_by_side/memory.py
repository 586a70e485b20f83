"""How much memory a process takes: as torch's allocator counts it, and as the driver does."""

from __future__ import annotations

import os
import resource
import threading

import torch

GIB = 2**30
# What was in use on the GPU before the process was started, in bytes.
USED_BEFORE = "VS_PEERS_GPU_BYTES_BEFORE"
# Seldom enough to leave the training's thread alone: a reading takes the driver's lock and the interpreter's.
_INTERVAL_S = 0.1


def used_on_gpu() -> int | None:
    """Bytes in use on the GPU by all processes as the driver counts them; None without one."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free


class MemoryWatch:
    """Keeps the highest of the driver's readings, which count what lies outside torch's allocator too.

    That is the CUDA context, libraries, and the managed memory of bitsandbytes' paged optimisers.
    """

    def __init__(self) -> None:
        self._peak = 0

    def start(self) -> None:
        """Starts to sample, in a thread that ends with the process."""
        if torch.cuda.is_available():
            self._sample()
            threading.Thread(target=self._watch, daemon=True).start()

    def figures(self) -> dict[str, float | None]:
        """Peaks so far in GiB; null where the machine has no GPU."""
        # On Linux in KiB. The processes of loaders are not in it.
        figures: dict[str, float | None] = {
            "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
            "peak_allocated_gib": None,
            "peak_reserved_gib": None,
            "peak_driver_gib": None,
        }
        if torch.cuda.is_available():
            self._sample()
            figures["peak_allocated_gib"] = torch.cuda.max_memory_allocated() / GIB
            figures["peak_reserved_gib"] = torch.cuda.max_memory_reserved() / GIB
            before = os.environ.get(USED_BEFORE)
            figures["peak_driver_gib"] = (self._peak - int(before)) / GIB if before else None
        return figures

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(_INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        self._peak = max(self._peak, used_on_gpu() or 0)
