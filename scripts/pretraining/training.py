"""One pretraining run: its trainer, its checkpoints, and where it goes on."""

from __future__ import annotations

import pickle
import sys
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from pretraining.bag_of_words import word_weights
from pretraining.budget import Budget
from pretraining.export import export_backbone
from pretraining.masked_lm import LOG_EVERY, MaskedLanguageModel, roberta_config
from pretraining.packing import ReviewBatches

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import numpy.typing as npt
    from tokenizers import Tokenizer


class Settings(L.Callback):
    """Writes into each checkpoint what a continuation must agree with.

    Args:
        settings: plain values.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the settings."""
        checkpoint["settings"] = self.settings


def _device(accelerator: str) -> torch.device:
    """Where the trainer will put the network."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda", 0) if on_gpu else torch.device("cpu")


def newest_checkpoint(folder: Path, settings: dict[str, Any]) -> Path | None:
    """The newest checkpoint that can be read: one cut off while it was written is passed over.

    Raises:
        ValueError: it belongs to a run with other settings.
    """
    for path in sorted(folder.glob("step-*.ckpt"), key=lambda p: int(p.stem.split("-")[1]), reverse=True):
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)["settings"]
        except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
            print(f"passing over {path}: it cannot be read", file=sys.stderr)
            continue
        changed = sorted(k for k in settings if kept.get(k) != settings[k])
        if changed:
            raise ValueError(f"{path} was made with another {', '.join(changed)}: remove it or choose another --run")
        return path
    return None


def train(
    args: argparse.Namespace,
    settings: dict[str, Any],
    tokenizer: Tokenizer,
    tokens: npt.NDArray[np.uint16],
) -> dict[str, Any]:
    """Fits the network, or goes on fitting it, and exports it.

    Args:
        args: the command line.
        settings: what a continuation must agree with.
        tokenizer: the vocabulary.
        tokens: the reviews in it, shape (number of tokens,).

    Returns:
        what the card says of the run.

    Raises:
        ValueError: too few tokens, or a checkpoint of another run.
        KeyboardInterrupt: the run was interrupted.
    """
    folder = args.run / "checkpoints"
    checkpoint = newest_checkpoint(folder, settings)
    device = _device(args.accelerator)
    data = ReviewBatches(tokens, args.seq, args.batch, args.long_every, args.seed, device)
    torch.set_float32_matmul_precision("high")
    L.seed_everything(args.seed, verbose=False)
    vocab = tokenizer.get_vocab_size()
    config = roberta_config(vocab, args.hidden, args.layers, args.heads, args.dropout, args.feedforward)
    counts = torch.from_numpy(np.bincount(tokens, minlength=vocab))
    network = MaskedLanguageModel(
        config,
        data=data,
        learning_rate=args.lr,
        weight_decay=args.weight_decay,
        mask_share=args.mask,
        span=args.span,
        bag_weight=args.bag_weight,
        word_weights=word_weights(counts, args.bag_power),
        mean_weight=args.mean_weight,
        warmup=args.warmup,
        compiled=args.compile,
        captured=device.type == "cuda" and not args.eager,
        seed=args.seed,
    )
    budget = Budget(args.minutes, args.steps)
    trainer = L.Trainer(
        accelerator=args.accelerator,
        devices=1,
        precision=args.precision,
        max_epochs=1,
        max_steps=args.steps or -1,
        logger=TensorBoardLogger(args.run, name="tensorboard", version=""),
        log_every_n_steps=LOG_EVERY,
        enable_model_summary=False,
        callbacks=[
            Settings(settings),
            budget,
            TQDMProgressBar(refresh_rate=LOG_EVERY),
            ModelCheckpoint(
                folder,
                filename="step-{step}",
                auto_insert_metric_name=False,
                train_time_interval=timedelta(seconds=args.checkpoint_seconds),
                enable_version_counter=False,
            ),
        ],
    )
    if checkpoint is not None:
        print(f"going on from {checkpoint}", flush=True)
    trainer.fit(network, ckpt_path=checkpoint, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(folder / f"step-{trainer.global_step}.ckpt")
    for older in folder.glob("step-*.ckpt"):
        if older.stem != f"step-{trainer.global_step}":
            older.unlink()
    export_backbone(network.model, tokenizer, args.out)
    loss, averaged = network.recent_loss()
    parameters = sum(p.numel() for p in network.model.roberta.parameters())
    return {
        "layers": args.layers,
        "hidden": args.hidden,
        "heads": config.num_attention_heads,
        "vocab": f"{config.vocab_size:,}",
        "parameters": f"{parameters:,}",
        "tokens": f"{len(tokens):,}",
        "feedforward": config.intermediate_size,
        "mask_percent": f"{100 * args.mask:g}",
        "span": f"{args.span:g}",
        "bag_weight": args.bag_weight,
        "bag_power": args.bag_power,
        "mean_weight": args.mean_weight,
        "step_tokens": f"{args.batch * args.seq:,}",
        "seq": args.seq,
        "batch": args.batch,
        "long_every": args.long_every,
        "weight_decay": args.weight_decay,
        "lr": args.lr,
        "warmup_percent": f"{100 * args.warmup:g}",
        "precision": args.precision,
        "seed": args.seed,
        "steps": trainer.global_step,
        "epochs": f"{trainer.global_step / data.steps_per_epoch:.1f}",
        "minutes": f"{budget.elapsed / 60:.1f}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "a CPU",
        "loss": f"{loss:.3f}",
        "loss_steps": averaged,
    }
