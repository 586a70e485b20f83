"""Stops a run whose loss or weights became infinite or NaN, before a checkpoint saves them."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.engine.sharded_tensors import all_finite
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.record import DIVERGED


class FiniteLoss(Callback):
    """Stops a run whose loss became infinite or NaN; the last checkpoint written is still a good one.

    The loss is checked on the device in every step, but the result is read only at logging intervals and before every
    save: reading it in every step would make the GPU wait.
    """

    def __init__(self) -> None:
        self._all_finite: torch.Tensor | None = None
        self._checked_step = 0
        self._saved = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks the loss on the device, and reads the result at a logging interval."""
        # Of several processes all see the loss of the whole batch, and so stop at the same step.
        finite = torch.isfinite(outputs.get("batch_loss", outputs["loss"]).detach())
        self._all_finite = finite if self._all_finite is None else self._all_finite & finite
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % every == 0:
            self.check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the result of the checks."""
        self.check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the result of the checks, and checks the weights, which may be broken before the loss shows it."""
        if trainer.state.fn == "fit":
            self.check(trainer)
            self.check_weights(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Raises an error instead of saving broken weights."""
        self.check(trainer)
        self.check_weights(trainer, pl_module)
        self._saved = True

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Knows that there is a good checkpoint: the one that training goes on from."""
        self._saved = True

    def check(self, trainer: Trainer) -> None:
        """Reads from the device whether all losses were finite.

        Raises:
            UserError: If a loss since the last call was not finite.
        """
        if self._all_finite is not None and not bool(self._all_finite):
            raise self._error("the loss", trainer)
        self._all_finite = None
        self._checked_step = trainer.global_step

    def check_weights(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks the trained weights: a gradient of NaN breaks them while the loss is still finite.

        Raises:
            UserError: If a trained weight is not finite.
        """
        trained = [parameter.detach() for parameter in pl_module.parameters() if parameter.requires_grad]
        if trained and not all_finite(trained):
            raise self._error("a weight", trainer)

    def _error(self, what: str, trainer: Trainer) -> UserError:
        mends = [("lower ", Setting("model.learning_rate"))]
        # What the run has already is no mend.
        if not trainer.gradient_clip_val:
            mends.append(("clip with ", Setting("trainer.gradient_clip_val", 1.0)))
        if trainer.precision != "32-true":
            mends.append(("use ", Setting("trainer.precision", "32-true")))
        between = [": ", *[", "] * (len(mends) - 2), " or "]
        parts = [part for before, mend in zip(between, mends, strict=False) for part in (before, *mend)]
        steps = f"between steps {self._checked_step} and {trainer.global_step}"
        kept = "; the last good checkpoint is kept" if self._saved else ""
        return UserError(f"{what} {DIVERGED} {steps}", *parts, kept)
