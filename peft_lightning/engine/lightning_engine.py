"""The engine of strategies that host no other: Lightning's own stepping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.clipping import norm_of_gradients
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.shared_batches import shared_loss
from peft_lightning.engine.step_shares import share_of_step
from peft_lightning.runs.record import StepFigures


class LightningEngine:
    """Runs steps eager and on whole batches; the run ends where memory is short."""

    @property
    def notes(self) -> list[str]:
        """Always empty: nothing is done differently from what was asked."""
        return []

    @property
    def micro_batch_size(self) -> None:
        """Always None: batches are computed whole."""
        return None

    @property
    def is_evaluating(self) -> bool:
        """Always False: this engine does not record it."""
        return False

    def figures(self, batch_size: int | None) -> StepFigures:
        """Returns what the record's ``engine`` section says of this process's steps.

        Args:
            batch_size: Examples in a batch; None where the data module does not say.
        """
        return StepFigures(name="eager", micro_batch_size=batch_size)

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients, a scalar."""
        return norm_of_gradients([value for group in optimizer.param_groups for value in group["params"]])

    def weighed(self, trainer: Trainer, loss: Tensor) -> Tensor:
        """Returns a loss as its gradients need it: with the share of the present batch in the step.

        Args:
            trainer: The Trainer, within a training step.
            loss: The loss of the batch, divided by the number of batches that a step should have.
        """
        share = share_of_step(trainer)
        return loss if share == 1 else loss * share

    def outputs(self, trainer: Trainer, loss: Tensor, batch: Batch, batch_idx: int) -> Tensor | dict[str, Any]:
        """Returns what the module's training step returns: see ``shared_loss``."""
        return shared_loss(trainer, loss, batch, batch_idx)

    def expect_test(self, follows: bool) -> None:
        """Does nothing: the strategy ends a training in its own way."""

    def try_out(self, trainer: Trainer) -> None:
        """Does nothing: batches are not cut into micro-batches."""

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty dictionary: this engine learns nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing: what another engine has learnt does not hold here."""
