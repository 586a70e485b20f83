"""A warning for a method that has learned nothing, usually because its learning rate is another method's."""

import math

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.backbone.locations import EMBEDDED
from peft_lightning.recipes import is_packaged


class MajorityClassWarning(Callback):
    """Warns when no validation was better than answering the most frequent class, and names a recipe for the backbone.

    Better means: by more than two standard errors of an accuracy measured on that many examples.

    Args:
        method: The method's name, which is its recipe's.
        recipe: The recipe of the run, which is not recommended to itself.
        backbone: The name of the backbone: the one in the package has recipes of its own.
    """

    def __init__(self, method: str, recipe: str = "", backbone: str = "") -> None:
        better, what = (
            (f"tuned_on_embedded/{method}", "method on this backbone") if backbone == EMBEDDED else (method, "method")
        )
        self._mend = (
            f"try configs/{better}.yaml, whose learning rate was chosen for this {what}, or raise model.learning_rate"
            if recipe != better and is_packaged(better)
            else "raise model.learning_rate, or train on more reviews or for more epochs"
        )
        self._best: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the best accuracy."""
        accuracy = trainer.callback_metrics.get("val/acc")
        if trainer.state.fn == "fit" and not trainer.sanity_checking and accuracy is not None:
            self._best = max(float(accuracy), self._best or 0.0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warns if need be."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self._best is None or data is None:
            return
        share = float(data.majority_share)
        margin = 2 * math.sqrt(share * (1 - share) / max(1, len(data.val)))
        if self._best <= share + margin:
            rank_zero_warn(
                f"the best validation accuracy, {self._best:.3f}, is near the share of the most frequent class,"
                f" {share:.3f}: the method has hardly learned; {self._mend}"
            )

    def state_dict(self) -> dict[str, float | None]:
        """Returns the best accuracy so far."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Goes on from the best accuracy so far.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self._best = state_dict["best"]
