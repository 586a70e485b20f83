"""Warns if a method has learned nothing, usually because its learning rate suits another method."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.backbone.locations import EMBEDDED
from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.recipes import is_packaged, recipe_of_method
from peft_lightning.task import Baseline


class MajorityClassWarning(Callback):
    """Warns when no validation was better than the task's baseline, and names a recipe for the backbone.

    For classes, the baseline predicts the most frequent class. Better means by more than the baseline's margin.
    Where no value could be, it says that instead.

    Args:
        method: The method's name, which is its recipe's.
        recipe: The recipe of the run, which the warning does not recommend.
        backbone: The name of the backbone; the one in the package has recipes of its own.
    """

    def __init__(self, method: str, recipe: str = "", backbone: str = "") -> None:
        better, what = recipe_of_method(method) or method, "method"
        # A variant, such as DoRA of LoRA, has a rate of its own, and so has a decoder's recipe.
        has_own_rate = recipe == better or recipe.startswith(("peft/", "decoder/"))
        if backbone == EMBEDDED:
            better, what = f"tuned_on_embedded/{method}", "method on this backbone"
            has_own_rate = recipe == better
        self._mend = (
            f"try configs/{better}.yaml, whose learning rate was chosen for this {what}, or raise model.learning_rate"
            if not has_own_rate and is_packaged(better)
            else "raise model.learning_rate, or train on more texts or for more epochs"
        )
        self._best: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the best value of the headline metric."""
        metric = task_of(pl_module).headline
        value = trainer.callback_metrics.get(metric.validation)
        if trainer.state.fn != "fit" or trainer.sanity_checking or value is None:
            return
        if metric.improves(float(value), self._best):
            self._best = float(value)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warns if the best value is near the baseline, also where a resumed run had no step left to train."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        baseline: Baseline | None = data.baseline if data is not None else None
        if self._best is None or baseline is None:
            return
        metric = task_of(pl_module).headline
        beyond_chance = metric.oriented(baseline.value) + baseline.margin
        if metric.oriented(self._best) > beyond_chance:
            return
        best, chance = (
            f"the best validation {metric.name}, {metric.plain(self._best)}",
            f"{baseline.words}, {metric.plain(baseline.value)}",
        )
        if metric.oriented(metric.best((metric.lowest, metric.highest))) <= beyond_chance:
            # Of five texts, three of them of one class, not even five right answers are.
            rank_zero_warn(
                f"{best}, does not say whether the method has learned: so few texts put no value beyond chance of"
                f" {chance}; validate on more, with data.n_val"
            )
        else:
            rank_zero_warn(f"{best}, is no more than chance from {chance}: the method has hardly learned; {self._mend}")

    def state_dict(self) -> dict[str, float | None]:
        """Returns the best value so far."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Goes on from the best value so far.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self._best = state_dict["best"]
