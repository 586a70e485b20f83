"""The optimiser steps that a run plans, beside those that the run of its checkpoint had planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from peft_lightning.errors import Setting, UserError
from peft_lightning.optim.restored_rates import follow_own_schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class TrainingPlan:
    """Compares a run's steps and optimiser with those of the checkpoint that it goes on from, if there is one."""

    def __init__(self) -> None:
        self._steps: int | None = None
        self._steps_before: int | None = None
        self._groups_before: int | None = None

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Reads what a checkpoint says of its training.

        Args:
            checkpoint: The content of a checkpoint file.
        """
        self._steps_before = checkpoint["peft_lightning"].get("planned_steps")
        # Where training goes on, the weights come before the optimiser that takes its state up.
        states = checkpoint.get("optimizer_states")
        self._groups_before = len(states[0]["param_groups"]) if states else None

    def begin(self, steps: int, optimizer: Optimizer) -> None:
        """Plans the run.

        Args:
            steps: The optimiser steps of the whole run.
            optimizer: Its optimiser, which the checkpoint's state is for.

        Raises:
            UserError: If the checkpoint's optimiser had other learning rates, each for its own weights.
        """
        if self._groups_before not in (None, len(optimizer.param_groups)):
            raise UserError(
                "the checkpoint is of an older version, which trained the head's last layer at another learning rate"
                " where numbers have a spread below 1: leave out ",
                Setting("ckpt_path"),
                " to train anew",
            )
        self._steps = steps

    def follow(self, schedules: Iterable[LRScheduler]) -> None:
        """Sets the rates of schedules that are others than the checkpoint's, because the run is longer.

        The optimiser's state holds the rate that the checkpoint's own schedule had: 0 at its end.

        Args:
            schedules: The run's schedules; they and their optimisers are changed.
        """
        if self._steps_before in (None, self._steps):
            return
        for schedule in schedules:
            follow_own_schedule(schedule)

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps of the plan, in plain values."""
        return {"planned_steps": self._steps}
