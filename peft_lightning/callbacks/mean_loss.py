"""The mean of the training loss over the examples since it was last read."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer


def examples_of(outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> int:
    """Returns the number of examples of a training batch, in all processes.

    Args:
        outputs: The outputs of its training step.
        batch: The batch of this process.
    """
    return int(outputs["examples"]) if "examples" in outputs else len(batch["labels"])


class MeanLoss:
    """Sums the loss of each batch on its device: reading it in every step would make the GPU wait."""

    def __init__(self) -> None:
        self._sum: torch.Tensor | None = None
        self._examples = 0

    def add(self, trainer: Trainer, outputs: Mapping[str, Any], examples: int = 1) -> None:
        """Adds the loss of a batch, that of all processes.

        Args:
            trainer: The Trainer.
            outputs: The outputs of the batch's training step.
            examples: The number of examples that the loss is the mean of.
        """
        if "batch_loss" in outputs:
            loss = outputs["batch_loss"]
        else:
            # Lightning divides the loss by the number of accumulated batches; the mean is of the undivided ones.
            loss = outputs["loss"].detach().float() * trainer.accumulate_grad_batches
        # A sum that a checkpoint kept is on the CPU.
        self._sum = loss * examples if self._sum is None else self._sum.to(loss.device) + loss * examples
        self._examples += examples

    def take(self) -> float:
        """Returns the mean over the examples since the last call, NaN without any, and resets the sum."""
        mean = float(self._sum) / self._examples if self._sum is not None else float("nan")
        self._sum, self._examples = None, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Returns the sum so far."""
        return {"loss_sum": None if self._sum is None else self._sum.cpu(), "examples": self._examples}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with a sum.

        Args:
            state_dict: What ``state_dict`` returned; other keys are left alone. Older checkpoints hold a sum over
                batches: it goes on as one of that many examples.
        """
        self._sum = state_dict["loss_sum"]
        self._examples = state_dict["examples"] if "examples" in state_dict else state_dict["batches"]
