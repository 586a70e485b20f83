"""The device that a run measures on."""

import torch
from lightning.pytorch import Trainer


def cuda_device(trainer: Trainer) -> torch.device | None:
    """Returns the GPU that a Trainer runs on, or None on a CPU.

    Args:
        trainer: The Trainer.
    """
    device: torch.device = trainer.strategy.root_device
    return device if device.type == "cuda" else None


def synchronise(trainer: Trainer) -> None:
    """Waits until the GPU has done what it was asked to, so that a clock read next tells the truth.

    Args:
        trainer: The Trainer.
    """
    device = cuda_device(trainer)
    if device is not None:
        torch.cuda.synchronize(device)
