"""What a type of PEFT's does in a run beside its layers: most types do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class OwnPart:
    """The part of a type in training: a schedule, a penalty, changes between steps, and what a resume needs of them."""

    name = "own"
    """The key of its state in a checkpoint."""
    follows_from_run: Mapping[str, Any] = {}
    """Arguments of the configuration that the run sets, whatever a file says, and their values until it does."""
    reads_gradients = False
    """Whether ``after_step`` reads the gradients."""
    needs_whole_weights = False
    """Whether it reads or changes weights, so that they cannot be spread over processes."""

    def least_steps(self, arguments: Mapping[str, Any]) -> int:
        """Returns the optimiser steps that the type's schedule needs at least.

        Args:
            arguments: The type's arguments that the user has set.
        """
        return 1

    def require_means(self, arguments: Mapping[str, Any]) -> None:
        """Refuses what cannot be built on this machine; nothing is loaded.

        Args:
            arguments: The type's arguments that the user has set.

        Raises:
            UserError: If what the type's layers need is missing here.
        """

    def settle(self, model: nn.Module) -> None:
        """Sets right what the type's layers are built with.

        Args:
            model: The PEFT model, just built.

        Raises:
            UserError: If it cannot be set right.
        """

    def begin(self, model: nn.Module, total_steps: int) -> None:
        """Sets the length of the schedule.

        Args:
            model: The PEFT model.
            total_steps: Optimiser steps of the whole run.

        Raises:
            UserError: If the run is too short for the schedule.
        """

    def extra_loss(self, model: nn.Module) -> Tensor | None:
        """Computes what the type adds to the training loss, a scalar, or None."""
        return None

    def after_step(self, model: nn.Module, step: int) -> None:
        """Changes the model between two optimiser steps.

        Args:
            model: The PEFT model; its weights have gradients where ``reads_gradients`` is true.
            step: The number of optimiser steps so far.
        """

    def findings(self, model: nn.Module) -> list[str]:
        """Returns what training has decided beside the weights, a sentence each."""
        return []

    def state(self, model: nn.Module) -> dict[str, Any] | None:
        """Returns what a resume needs: plain values and tensors on the CPU; None for nothing."""
        return None

    def restore(self, model: nn.Module, saved: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned."""
