"""A loss that is no longer a number stops the run, before a checkpoint could keep the broken weights."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.errors import UserError


class FiniteLoss(Callback):
    """Stops a run whose loss became infinite or NaN; the last checkpoint written is still a good one.

    The loss is looked at on the device in every step, but the answer is only read at logging intervals and before
    every save: reading it in every step would make the GPU wait.
    """

    def __init__(self) -> None:
        self._all_finite: torch.Tensor | None = None
        self._checked_step = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the loss, and reads what was seen where a point is logged."""
        finite = torch.isfinite(outputs["loss"].detach())
        self._all_finite = finite if self._all_finite is None else self._all_finite & finite
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % every == 0:
            self.check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads what was seen."""
        self.check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads what was seen, before weights that may be broken are judged."""
        if trainer.state.fn == "fit":
            self.check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses to save broken weights."""
        self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Reads the flag.

        Args:
            trainer: The Trainer.

        Raises:
            UserError: If a loss since the last look was not finite.
        """
        if self._all_finite is not None and not bool(self._all_finite):
            raise UserError(
                f"the loss became infinite or NaN between steps {self._checked_step} and {trainer.global_step}:"
                " lower --model.learning_rate, clip with --trainer.gradient_clip_val 1.0 or use"
                " --trainer.precision 32-true; the last good checkpoint is kept"
            )
        self._all_finite = None
        self._checked_step = trainer.global_step
