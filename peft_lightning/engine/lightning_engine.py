"""Lightning's own stepping, under strategies that host no other engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.clipping import norm_of_gradients
from peft_lightning.runs.record import EngineFigures


class LightningEngine:
    """Steps run eager and whole, and where there is no memory for one the run ends."""

    @property
    def notes(self) -> list[str]:
        """None: nothing is done differently from what was asked."""
        return []

    @property
    def micro_batch_size(self) -> None:
        """None: batches go through whole."""
        return None

    @property
    def is_evaluating(self) -> bool:
        """False: nobody looks."""
        return False

    def figures(self, batch_size: int | None) -> EngineFigures:
        """Returns the record's `engine` section.

        Args:
            batch_size: examples in a batch; None where the data do not say.
        """
        return EngineFigures(name="eager", micro_batch_size=batch_size)

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients.

        Args:
            optimizer: the optimiser.
        """
        return norm_of_gradients([value for group in optimizer.param_groups for value in group["params"]])

    def expect_test(self, follows: bool) -> None:
        """Does nothing: the strategy ends a training in its own way.

        Args:
            follows: whether a test follows.
        """

    def try_out(self, trainer: Trainer) -> None:
        """Does nothing: there are no micro-batches to find.

        Args:
            trainer: the Trainer.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: nothing was found out."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing: what another engine found out does not hold here.

        Args:
            state: what it found out.
        """
