"""Finds the one device that a Trainer will run on, before there is a Trainer."""

from __future__ import annotations

import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator


def single_device(accelerator: str, devices: list[int] | int | str, num_nodes: int = 1) -> torch.device | None:
    """Finds the one device that a Trainer's settings of the same names choose.

    Returns:
        The CPU or a GPU; None for several devices, other kinds of device, and settings that the Trainer will refuse.
    """
    if num_nodes != 1:
        return None
    has_gpu = CUDAAccelerator.is_available()
    if accelerator == "cpu" or (accelerator == "auto" and not has_gpu and not MPSAccelerator.is_available()):
        return torch.device("cpu") if devices in (1, "1", "auto") else None
    if accelerator not in ("auto", "gpu", "cuda") or not has_gpu:
        return None
    try:
        ids = CUDAAccelerator.parse_devices(CUDAAccelerator.auto_device_count() if devices == "auto" else devices)
    except Exception:  # whatever is wrong, the Trainer's own message is better
        return None
    return torch.device("cuda", ids[0]) if ids is not None and len(ids) == 1 else None
