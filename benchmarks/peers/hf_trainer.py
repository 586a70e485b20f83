"""Training with the HF Trainer, for every peer that does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from peers.decoder_recipe import read_recipe
from peers.hf_models import count_trained
from peers.hf_variants import Variant
from side_by_side.clock import StepClock
from side_by_side.peer_job import PeerJob
from side_by_side.shared_reviews import Reviews, load_tokenizer, read_reviews, token_ids

# Each new width makes a GPU choose kernels anew: with dynamic padding the peer rounds as this project does.
GPU_WIDTH_MULTIPLE = 32


class HFClock(TrainerCallback):
    """Tells the clock what the Trainer does.

    Args:
        clock: the clock.
    """

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Says that the model is loaded."""
        self._clock.loaded()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the clock once."""
        self._clock.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts a step."""
        self._clock.step(state.global_step)


class TokenisedExamples(torch.utils.data.Dataset[dict[str, Any]]):
    """Reviews as the Trainer takes them.

    Args:
        reviews: texts and classes.
        encoded: what the tokenizer made of the texts.
    """

    def __init__(self, reviews: Reviews, encoded: Any) -> None:
        self._labels = reviews.labels
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: int) -> dict[str, Any]:
        columns = ("input_ids", "attention_mask")
        return {name: self._encoded[name][position] for name in columns} | {"labels": self._labels[position]}


def train(
    job: PeerJob,
    model: nn.Module,
    variant: Variant | None,
    folder: Path,
    trainer_class: type[Trainer] = Trainer,
    checkpointed: bool = False,
) -> dict[str, Any]:
    """Trains, and tests where the job does.

    Args:
        job: what to train.
        model: the model, adapted.
        variant: how; None is the study's recipe on the Trainer's defaults.
        folder: where the Trainer writes.
        trainer_class: the HF Trainer, or a library's own kind of it.
        checkpointed: as for the least memory: activations are computed again, and the optimiser is the paged 8-bit one.

    Returns:
        The clock's figures, the final loss, and the test accuracy where there is a test.
    """
    tokenizer = load_tokenizer(job.backbone)
    train_reviews, test_reviews = read_reviews(job)
    grouped = variant is not None and variant.grouped
    padding: bool | str = False if grouped else "max_length"

    def tokenised(reviews: Reviews) -> TokenisedExamples:
        if job.recipes == "study":
            encoded = tokenizer(reviews.texts, truncation=True, max_length=job.max_length, padding=padding)
        else:
            ids = {"input_ids": token_ids(job, reviews, tokenizer)}
            encoded = tokenizer.pad(ids, padding=padding, max_length=job.max_length)
        return TokenisedExamples(reviews, encoded)

    train_set = tokenised(train_reviews)
    multiple = GPU_WIDTH_MULTIPLE if torch.cuda.is_available() else None
    clock = StepClock(job.warmup_steps, job.steps, job.tokens_per_step)
    trainer = trainer_class(
        model=model,
        args=_arguments(job, variant, folder, checkpointed),
        train_dataset=train_set,
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple),
        callbacks=[HFClock(clock)],
        compute_metrics=_accuracy,
    )
    trained = count_trained(model)  # while it is whole: FSDP shards it
    if job.peer == "hf-fsdp2" and not trainer.accelerator.is_fsdp2:
        raise RuntimeError("accelerate was asked for FSDP2 and does not shard")
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    figures: dict[str, Any] = clock.figures | {"final_loss": losses[-1] if losses else None}
    figures["trained_parameters"] = trained
    if job.n_test:
        figures["test_accuracy"] = trainer.evaluate(tokenised(test_reviews))["eval_accuracy"]
    return figures


def _arguments(job: PeerJob, variant: Variant | None, folder: Path, checkpointed: bool) -> TrainingArguments:
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": job.steps,
        "per_device_train_batch_size": job.batch_size,
        "per_device_eval_batch_size": 32,
        "learning_rate": job.learning_rate,
        "logging_steps": job.log_every,
        "report_to": "none",
        "seed": job.seed,
        "use_cpu": not torch.cuda.is_available(),
        # A whole job saves as the Trainer does unless told otherwise, every 500 steps.
        "save_strategy": "steps" if job.kind == "whole" else "no",
    }
    if variant is not None:
        settings |= {
            "bf16": variant.bf16,
            "optim": "adamw_torch_fused" if variant.fused else "adamw_torch",
            "dataloader_num_workers": variant.workers,
            "dataloader_persistent_workers": variant.workers > 0,
            "torch_compile": variant.compiled,
            "disable_tqdm": True,
            # Looking for NaN at every step makes the host wait for the GPU.
            "logging_nan_inf_filter": False,
        }
        if variant.grouped and "train_sampling_strategy" in known:
            settings["train_sampling_strategy"] = "group_by_length"
        elif variant.grouped:  # transformers 4
            settings["group_by_length"] = True
    if job.recipes == "decoder":
        settings |= _as_recipe(job)
    if checkpointed:
        settings |= {
            "gradient_checkpointing": True,
            "gradient_checkpointing_kwargs": {"use_reentrant": False},
            "optim": "paged_adamw_8bit",
        }
    if job.devices > 1:
        settings |= {
            "ddp_find_unused_parameters": False,
            "ddp_broadcast_buffers": False,
            # A classifier's loss is a mean already: with it the loss and its gradients are `devices` times as large.
            "average_tokens_across_devices": False,
        }
    return TrainingArguments(**settings)


def _as_recipe(job: PeerJob) -> dict[str, Any]:
    recipe = read_recipe(job)
    return {
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup_steps(job.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.clip,
    } | ({"optim": "paged_adamw_8bit"} if recipe.paged_8bit else {})


def _accuracy(evaluated: Any) -> dict[str, float]:
    predicted, labels = evaluated
    return {"accuracy": float((predicted.argmax(-1) == labels).mean())}
