"""What the rest of the program may know of how a run's steps are computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.runs.record import EngineFigures

EngineName = Literal["auto", "eager", "graph", "compiled"]


class Engine(Protocol):
    """How a run's steps are computed, whatever strategy of Lightning's it has."""

    @property
    def notes(self) -> list[str]:
        """What had to be done differently from what was asked."""
        ...

    @property
    def micro_batch_size(self) -> int | None:
        """Most examples that go through together; None for the whole batch."""
        ...

    @property
    def is_evaluating(self) -> bool:
        """Whether a validation's batch is being evaluated, or was when the run broke off."""
        ...

    def figures(self, batch_size: int | None) -> EngineFigures:
        """Returns the record's `engine` section.

        Args:
            batch_size: examples in a batch; None where the data do not say.
        """
        ...

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients before the clipping, wherever they are.

        Args:
            optimizer: the optimiser, in `on_before_optimizer_step`.
        """
        ...

    def expect_test(self, follows: bool) -> None:
        """Says whether training ends in this process's test: the weights stay, and checkpoints go on being written.

        Args:
            follows: whether it does.
        """
        ...

    def try_out(self, trainer: Trainer) -> None:
        """Finds the micro-batches that fit the memory before the first step, so that none has to be done twice.

        Args:
            trainer: the Trainer, at the start of training.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns what was found out about the memory and the steps, for checkpoints."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with what a run had found out.

        Args:
            state: what `state_dict` returned, once the strategy is set up.
        """
        ...
