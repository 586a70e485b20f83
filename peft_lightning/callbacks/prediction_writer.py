"""Saves the answer to every test example, so that methods can be compared review by review."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.data.text_windows import TOKENS
from peft_lightning.runs.predictions import Answers, write_answers
from peft_lightning.task.gathering import gathered


class Predictions(Callback):
    """Writes one Parquet row per example: its row in the source's split, label, the task's columns, and tokens."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._batches: list[dict[str, torch.Tensor]] = []

    def write_to(self, path: Path) -> None:
        """Sets the Parquet file of the predictions."""
        self.path = path

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the answers of an earlier test."""
        self._batches = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch's answers."""
        answered = {
            "index": batch["index"].cpu(),
            "label": batch["labels"].cpu(),
            "answer": task_of(pl_module).answer(outputs["logits"].float()).cpu(),
        }
        # A text of several windows has more rows, which overlap. And not every data module pads.
        if TOKENS in batch:
            answered["tokens"] = batch[TOKENS].cpu()
        elif len(mask := batch.get("attention_mask", ())) == len(answered["index"]):
            answered["tokens"] = mask.sum(dim=1).cpu()
        self._batches.append(answered)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, in the order of the source's split, with the answers of all processes."""
        batches = [batch for share in gathered(self._batches) for batch in share]
        self._batches = []
        if self.path is None or not trainer.is_global_zero or not batches:
            return
        names = [name for name in batches[0] if all(name in batch for batch in batches)]
        columns = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in names}
        answers = Answers(
            columns["index"], columns["label"], columns["answer"], task_of(pl_module), columns.get("tokens")
        )
        write_answers(self.path, answers)
