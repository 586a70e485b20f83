"""Finds the devices that a Trainer will run on, before there is a Trainer."""

from __future__ import annotations

import torch
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator, MPSAccelerator


def devices_of(accelerator: str, devices: list[int] | int | str) -> list[torch.device]:
    """Finds the devices that a Trainer's settings of the same names choose on this machine.

    Returns:
        The CPU, once for each process, or GPUs; none for other kinds of device, and for settings that the Trainer will
        refuse.
    """
    has_gpu = CUDAAccelerator.is_available()
    try:
        if accelerator == "cpu" or (accelerator == "auto" and not has_gpu and not MPSAccelerator.is_available()):
            count = CPUAccelerator.parse_devices(1 if devices == "auto" else devices)  # type: ignore[arg-type]
            return [torch.device("cpu")] * count
        if accelerator not in ("auto", "gpu", "cuda") or not has_gpu:
            return []
        ids = CUDAAccelerator.parse_devices(CUDAAccelerator.auto_device_count() if devices == "auto" else devices)
    except Exception:  # whatever is wrong, the Trainer's own message is better
        return []
    return [torch.device("cuda", number) for number in ids or []]
