"""Lightning without this project: a module, a data module and a Trainer, as one writes them with PEFT in an hour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup, get_scheduler

from peers.decoder_recipe import read_recipe
from peers.hf_models import build_model, count_trained
from side_by_side.clock import StepClock
from side_by_side.lightning_clock import LightningClock
from side_by_side.peer_job import PeerJob
from side_by_side.shared_reviews import Reviews, load_tokenizer, read_reviews, token_ids

VARIANTS = ("32-true", "bf16-mixed")
ON_GPU = torch.cuda.is_available()


class ReviewData(L.LightningDataModule):
    """Reviews in shuffled batches, each padded to its longest.

    Args:
        job: how many, how long and where they are.
    """

    def __init__(self, job: PeerJob) -> None:
        super().__init__()
        self.job = job
        self.tokenizer = load_tokenizer(job.backbone)
        self.reviews = read_reviews(job)[0]

    def setup(self, stage: str) -> None:
        """Tokenises."""
        self.train = self._tokenised(self.reviews)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training batches."""
        collate = DataCollatorWithPadding(self.tokenizer, pad_to_multiple_of=8)
        workers = 2 if ON_GPU else 0
        return DataLoader(
            self.train,  # type: ignore[arg-type]  # a list is a dataset to the loader
            batch_size=self.job.batch_size,
            shuffle=True,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=ON_GPU,
        )

    def _tokenised(self, reviews: Reviews) -> list[dict[str, Any]]:
        return [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label}
            for ids, label in zip(token_ids(self.job, reviews, self.tokenizer), reviews.labels, strict=True)
        ]


class Classifier(L.LightningModule):
    """A classifier that PEFT adapted.

    Args:
        job: method, backbone, learning rate and number of steps.
        precision: the Trainer's.
    """

    def __init__(self, job: PeerJob, precision: str) -> None:
        super().__init__()
        self.job = job
        self.model = build_model(job, torch.bfloat16 if precision == "bf16-mixed" else torch.float32)
        # `from_pretrained` leaves modules in evaluation mode, which Lightning keeps.
        self.model.train()

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Computes the loss."""
        loss: torch.Tensor = self.model(**batch).loss
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with linear decay, or what a decoder's recipe says."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if self.job.recipes == "decoder":
            return _as_recipe(self.job, trained)
        optimizer = torch.optim.AdamW(trained, lr=self.job.learning_rate, weight_decay=0.0)
        schedule = get_linear_schedule_with_warmup(optimizer, 0, self.job.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _as_recipe(job: PeerJob, trained: list[torch.nn.Parameter]) -> Any:
    recipe = read_recipe(job)
    optimizer: torch.optim.Optimizer
    if recipe.paged_8bit:
        from bitsandbytes.optim.adamw import PagedAdamW8bit

        paged: Callable[..., torch.optim.Optimizer] = PagedAdamW8bit
        optimizer = paged(trained, lr=job.learning_rate, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.AdamW(trained, lr=job.learning_rate, weight_decay=recipe.weight_decay)
    schedule = get_scheduler(recipe.schedule, optimizer, recipe.warmup_steps(job.steps), job.steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Trains.

    Args:
        job: what to train, and in which precision.
        folder: where Lightning writes.

    Returns:
        The figures.
    """
    L.seed_everything(job.seed)
    clock = StepClock(job.warmup_steps, job.steps, job.tokens_per_step)
    watch = LightningClock(clock, job.log_every)
    trainer = L.Trainer(
        max_steps=job.steps,
        max_epochs=-1,
        precision=job.variant,  # type: ignore[arg-type]  # a name that Lightning knows
        gradient_clip_val=read_recipe(job).clip if job.recipes == "decoder" else 1.0,
        devices=job.devices,
        strategy="ddp" if job.devices > 1 else "auto",
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    )
    model = Classifier(job, job.variant)
    trainer.fit(model, datamodule=ReviewData(job))
    return clock.figures | {"final_loss": watch.final_loss(), "trained_parameters": count_trained(model)}
