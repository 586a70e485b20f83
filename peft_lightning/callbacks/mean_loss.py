"""The mean of the training loss since it was last read."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer


class MeanLoss:
    """Sums the loss of each batch on its device: reading it in every step would make the GPU wait."""

    def __init__(self) -> None:
        self._sum: torch.Tensor | None = None
        self._batches = 0

    def add(self, trainer: Trainer, outputs: Mapping[str, Any]) -> None:
        """Adds the loss of a batch, from the outputs of its training step."""
        # Lightning divides the loss by the number of accumulated batches; the mean is of the undivided ones.
        loss = outputs["loss"].detach().float() * trainer.accumulate_grad_batches
        # A sum that a checkpoint kept is on the CPU.
        self._sum = loss if self._sum is None else self._sum.to(loss.device) + loss
        self._batches += 1

    def take(self) -> float:
        """Returns the mean over the batches since the last call, NaN without any, and resets the sum."""
        mean = float(self._sum) / self._batches if self._sum is not None else float("nan")
        self._sum, self._batches = None, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Returns the sum so far."""
        return {"loss_sum": None if self._sum is None else self._sum.cpu(), "batches": self._batches}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with a sum.

        Args:
            state_dict: What ``state_dict`` returned; other keys are left alone.
        """
        self._sum, self._batches = state_dict["loss_sum"], state_dict["batches"]
