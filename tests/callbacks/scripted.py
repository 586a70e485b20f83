"""A module and data for a real Trainer, whose losses, gradients, scores and durations a test writes down beforehand."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.task import SingleLabel, Task

TWO_CLASSES = SingleLabel(("0", "1"))


class ScriptedModule(LightningModule):
    """Training batch number n has losses[n] as its loss and gradients[n] as its gradient.

    Args:
        losses: One a training batch, over all epochs.
        gradients: One a training batch; 1 if not given.
        scores: The validation accuracy, one a validation; each of a tuple is logged.
        train_s: Seconds a training batch takes.
        eval_s: Seconds an evaluation batch takes.
        task: What its answers are to.
    """

    def __init__(
        self,
        losses: Sequence[float] = (1.0,) * 64,
        gradients: Sequence[float] | None = None,
        scores: Sequence[float] = (),
        train_s: float = 0.0,
        eval_s: float = 0.0,
        task: Task = TWO_CLASSES,
    ) -> None:
        super().__init__()
        self.task = task
        self.weight = nn.Parameter(torch.zeros(1))
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)
        self.losses, self.gradients, self.scores = losses, gradients or (1.0,) * len(losses), scores
        self.train_s, self.eval_s = train_s, eval_s
        self.batches = 0

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.train_s)
        number, self.batches = self.batches, self.batches + 1
        weight = self.weight.sum()
        return (weight - weight.detach()) * self.gradients[number] + self.losses[number]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        time.sleep(self.eval_s)

    def on_validation_epoch_end(self) -> None:
        if self.scores:
            score = 1.0 if self.trainer.sanity_checking else self.scores[self.current_epoch]
            self.log("val/acc", score, logger=False)
            self.log("val/loss", 1 - score, logger=False)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        time.sleep(self.eval_s)
        return {"logits": batch["logits"]}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["peft_lightning"] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.5)


class ScriptedData(LightningDataModule):
    """Batches of one example each, so many for training and for validation; test batches as given."""

    def __init__(
        self, train: int = 4, val: int = 1, test: Iterable[dict[str, Tensor]] = (), majority_share: float = 0.5
    ) -> None:
        super().__init__()
        self.counts, self.test_batches = (train, val), list(test)
        self.baseline = TWO_CLASSES.baseline(np.arange(100) >= round(100 * majority_share))

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.counts[0])

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.counts[1])

    def test_dataloader(self) -> Any:
        return DataLoader(self.test_batches, batch_size=None)  # type: ignore[arg-type]

    @staticmethod
    def _loader(count: int) -> DataLoader[Any]:
        return DataLoader([{"labels": torch.tensor(n % 2)} for n in range(count)])  # type: ignore[arg-type]


def trainer(folder: Path, *callbacks: Callback, loggers: Sequence[Logger] = (), **settings: Any) -> Trainer:
    """A quiet Trainer on the CPU with the checkpoint files of this project."""
    return Trainer(
        **{
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": list(loggers) or False,
            "callbacks": list(callbacks),
            "plugins": [AtomicCheckpointIO()],
            "default_root_dir": folder,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(hasattr(callback, "every_n_steps") for callback in callbacks),
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            **settings,
        }
    )
