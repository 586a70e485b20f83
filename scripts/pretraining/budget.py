"""How long a run lasts: so many steps, or so many minutes on whatever machine it is."""

from __future__ import annotations

import time
from typing import Any

import lightning as L

from pretraining.masked_lm import MaskedLanguageModel

# The first steps of a process choose kernels and compile: they say nothing about its pace.
SETTLING_STEPS = 12


class Budget(L.Callback):
    """Moves the module's `progress` from 0 to 1, and ends the run there; goes on counting after a resume.

    With minutes, progress is the share of the time that is used up, so that the learning rate reaches 0
    exactly when the time is over, however fast the machine is or becomes. The number of steps is then the
    machine's affair; the card records it, and `steps` repeats it anywhere.

    Args:
        minutes: time to train, without reading and tokenising.
        steps: optimiser steps; overrides `minutes`.
    """

    def __init__(self, minutes: float, steps: int | None = None) -> None:
        self.seconds = minutes * 60.0
        self.steps = steps
        self.settling = 0.0
        self.trained = 0.0
        self._steps_here = 0
        self._last = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds of training, over all processes of this run."""
        return self.settling + self.trained

    def _progress(self, step: int) -> float:
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, self.trained / max(1e-9, self.seconds - self.settling))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._last = time.monotonic()
        self._steps_here = 0
        self._move(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the time of a step, and stops the run when the budget is used up."""
        now = time.monotonic()
        spent, self._last = now - self._last, now
        self._steps_here += 1
        if self._steps_here <= SETTLING_STEPS:
            self.settling += spent
        else:
            self.trained += spent
        self._move(trainer, pl_module)

    def _move(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not isinstance(pl_module, MaskedLanguageModel):
            raise TypeError(f"the budget drives a MaskedLanguageModel, not a {type(pl_module).__name__}")
        pl_module.progress = self._progress(trainer.global_step)
        if pl_module.progress >= 1.0:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The time used so far."""
        return {"settling": self.settling, "trained": self.trained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the time used before."""
        self.settling = state_dict["settling"]
        self.trained = state_dict["trained"]
