"""The engine's interface: what the rest of the program may know of how a run's steps are computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.micro_batches import Batch
from peft_lightning.runs.record import StepFigures

EngineName = Literal["auto", "eager", "graph", "compiled"]


class Engine(Protocol):
    """Computes a run's steps, under any of Lightning's strategies."""

    @property
    def notes(self) -> list[str]:
        """What the engine did differently from what was asked, a sentence each."""
        ...

    @property
    def micro_batch_size(self) -> int | None:
        """The most examples in a micro-batch; None for the whole batch."""
        ...

    @property
    def is_evaluating(self) -> bool:
        """Whether a validation batch is being evaluated, or was being evaluated when the run broke off."""
        ...

    def figures(self, batch_size: int | None) -> StepFigures:
        """Returns what the record's ``engine`` section says of this process's steps.

        Args:
            batch_size: Examples in a batch; None where the data module does not say.
        """
        ...

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients before the clipping, a scalar; for ``on_before_optimizer_step``."""
        ...

    def weighed(self, trainer: Trainer, loss: Tensor) -> Tensor:
        """Returns a loss as its gradients need it: with the share of its batch in the step.

        Args:
            trainer: The Trainer, within a training step.
            loss: The loss of a batch or a part of it, divided by the number of batches that a step should have.
        """
        ...

    def outputs(self, trainer: Trainer, loss: Tensor, batch: Batch, batch_idx: int) -> Tensor | dict[str, Any]:
        """Returns what the module's training step returns.

        Args:
            trainer: The Trainer, within a training step.
            loss: The mean loss of the batch, or of this process's share of it.
            batch: The batch, or the share.
            batch_idx: The number of the batch in the epoch.
        """
        ...

    def expect_test(self, follows: bool) -> None:
        """Tells the engine whether a test follows training in this process.

        Args:
            follows: Whether it does. If so, the weights stay on the device when training ends, and checkpoints are
                still written.
        """
        ...

    def try_out(self, trainer: Trainer) -> None:
        """Finds the micro-batch size that fits the memory before the first step, so that no step is computed twice."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns what the engine has learnt about the memory and the steps, for checkpoints."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what the engine of an earlier run had learnt; called once the strategy is set up.

        Args:
            state: What ``state_dict`` returned.
        """
        ...
