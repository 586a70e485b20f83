"""Saves in checkpoints what a Trainer and its callbacks know at a moment and Lightning's own checkpoints lack."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

SECTION = "peft_lightning_trainer"
# What ModelCheckpoint goes by and does not restore (Lightning 2.6): without the first it may save a step twice, without
# the third it forgets a checkpoint that waits for a validation.
_MEMORY = ("_last_global_step_saved", "_last_checkpoint_saved", "_defer_save_until_validation", "current_score")


class TrainerState(Callback):
    """Saves the metrics that callbacks read, the wish to stop, and what ``ModelCheckpoint`` remembers.

    A checkpoint is written after a validation, and callbacks such as ``EarlyStopping`` read its metrics later, when the
    epoch ends. Lightning empties them on a resume.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] = {}
        self._patience: list[tuple[EarlyStopping, int]] = []

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves the state as plain values and tensors, which ``weights_only`` loading accepts."""
        checkpoint[SECTION] = {
            "callback_metrics": _plain(trainer.callback_metrics),
            "logged_metrics": _plain(trainer.logged_metrics),
            "progress_bar_metrics": _plain(trainer.progress_bar_metrics),
            "should_stop": trainer.should_stop,
            "model_checkpoints": {
                callback.state_key: {
                    "dirpath": str(callback.dirpath),
                    **{name: getattr(callback, name) for name in _MEMORY if hasattr(callback, name)},
                }
                for callback in _of_type(trainer, ModelCheckpoint)
            },
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restores the wish to stop, and keeps the rest until training starts."""
        if trainer.state.fn != "fit":
            return
        self._restored = checkpoint.get(SECTION, {})
        trainer.should_stop = self._restored.get("should_stop", False)
        # A callback's state comes after this hook, and EarlyStopping's holds the patience it was saved with.
        self._patience = [(callback, callback.patience) for callback in _of_type(trainer, EarlyStopping)]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives ``EarlyStopping`` the patience of this run's settings back."""
        for callback, patience in self._patience:
            callback.patience = patience
        self._patience = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the metrics, after the Trainer has emptied them, and what ``ModelCheckpoint`` remembers."""
        restored, self._restored = self._restored, {}
        trainer.callback_metrics.update(restored.get("callback_metrics", {}))
        trainer.logged_metrics.update(restored.get("logged_metrics", {}))
        trainer.progress_bar_metrics.update(restored.get("progress_bar_metrics", {}))
        memories = restored.get("model_checkpoints", {})
        for callback in _of_type(trainer, ModelCheckpoint):
            memory = memories.get(callback.state_key, {})
            # In another folder, as in a run that starts from another's checkpoint, it has saved nothing yet.
            if memory.pop("dirpath", None) == str(callback.dirpath):
                for name, value in memory.items():
                    setattr(callback, name, value)


def as_a_start(checkpoint: dict[str, Any]) -> None:
    """Drops from a checkpoint what holds for its own run only, so that another run can start from it.

    Args:
        checkpoint: The content of a checkpoint file, which is changed.
    """
    if SECTION in checkpoint:
        checkpoint[SECTION] |= {"should_stop": False}


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
        for name, value in metrics.items()
    }


def _of_type(trainer: Trainer, kind: type[Any]) -> Iterator[Any]:
    return (callback for callback in trainer.callbacks if isinstance(callback, kind))  # type: ignore[attr-defined]
