"""A model of the batches that takes no time, and a Trainer that leaves nothing behind."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer


class Bag(LightningModule):
    """The smallest model of the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(500, 2)

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = self.embedding(batch["input_ids"])
        return torch.nn.functional.cross_entropy(logits, batch["labels"])

    validation_step = test_step = training_step

    def predict_step(self, batch: dict[str, torch.Tensor]) -> list[int]:
        rows: list[int] = batch["index"].tolist()
        return rows

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def small_trainer(**limits: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, **limits,
    )  # fmt: skip
