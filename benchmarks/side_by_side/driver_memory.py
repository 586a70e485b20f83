"""How much memory a process takes: as torch's allocator counts it, and as the driver does from outside."""

from __future__ import annotations

from pathlib import Path

import torch

GIB = 2**30


def gpu_peaks() -> dict[str, float | None]:
    """This process's peaks on its GPU since `start_new_peaks`, in GiB; null where the machine has none."""
    on_gpu = torch.cuda.is_available()
    return {
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / GIB if on_gpu else None,
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / GIB if on_gpu else None,
    }


def start_new_peaks() -> None:
    """Lets the GPU's peaks begin at what is in use now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_rss_gib() -> float:
    """Reads the largest resident set that this process has had, in GiB; the processes of loaders are not in it.

    It is Linux's figure for a process image: `getrusage` begins with what the process that started this one held.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 2**20


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
