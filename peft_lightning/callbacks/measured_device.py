"""The device whose memory and time a run measures."""

import torch
from lightning.pytorch import Trainer


def cuda_device(trainer: Trainer) -> torch.device | None:
    """Returns the GPU that a Trainer runs on, or None on a CPU."""
    device: torch.device = trainer.strategy.root_device
    return device if device.type == "cuda" else None


def synchronise(trainer: Trainer) -> None:
    """Waits until the GPU has finished all queued work, so that a clock can be read."""
    device = cuda_device(trainer)
    if device is not None:
        torch.cuda.synchronize(device)
