"""The program, with one more callback: at the place that DIE_AT names, if any, it sends its processes SIGKILL.

Nothing can run after that: no handler, no `finally`, no flush; just as when the machine takes a process away. Under
IN_BACKGROUND checkpoints are written in a thread, as on a GPU. DIE_RANK names which of torchrun's processes dies, and
SHORT_RANK one that has no room for batches of more than two examples.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint

from peft_lightning.__main__ import main
from peft_lightning.commands import trainer_parts
from peft_lightning.commands.fit import Fit
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.background_io import BackgroundCheckpointIO

PLACE, _, NUMBER = os.environ.get("DIE_AT", "nowhere").partition(":")


def die() -> None:
    if os.environ.get("DIE_RANK", os.environ.get("RANK")) != os.environ.get("RANK"):
        return
    # With the data loader's workers: one that has just been forked does not notice that it is left alone, waits for
    # ever, and keeps whoever reads this process's output waiting.
    os.killpg(os.getpgrp(), signal.SIGKILL)


class DieInTime(Callback):
    """Dies before Lightning's own bookkeeping and before checkpoints of the same moment are written."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if PLACE == "before_saving_step" and trainer.global_step == int(NUMBER):
            die()

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if PLACE == "in_step" and trainer.global_step == int(NUMBER):
            die()

    def on_validation_batch_start(self, trainer: Any, *args: Any) -> None:
        if PLACE == "in_validation" and trainer.current_epoch == int(NUMBER):
            die()

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        if PLACE == "at_epoch_end" and trainer.current_epoch == int(NUMBER):
            die()

    def on_test_batch_start(self, *args: Any) -> None:
        if PLACE == "in_test":
            die()


class DieLate(Checkpoint):
    """Dies after the checkpoints of the same moment are written."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if PLACE == "after_saving_step" and trainer.global_step == int(NUMBER):
            die()

    def on_validation_end(self, trainer: Any, *args: Any) -> None:
        if PLACE == "after_validation" and trainer.current_epoch == int(NUMBER):
            die()


def die_while_saving(path: Path, number: int) -> None:
    """Dies when a part of the given checkpoint's bytes is on disk."""
    real = torch.save
    seen = {"count": 0}

    def save(content: Any, file: Any) -> None:
        real(content, file)
        file.flush()
        seen["count"] += Path(file.name).name.startswith(str(path))
        if seen["count"] == number:
            os.truncate(file.name, os.path.getsize(file.name) // 2)
            die()

    torch.save = save  # type: ignore[assignment]


def run_out_of_memory(rank: int) -> None:
    """Lets a process train on no more than two examples at a time."""
    real = TextClassifier.loss

    def loss(module: TextClassifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if module.trainer.global_rank == rank and torch.is_grad_enabled() and len(batch["labels"]) > 2:
            raise torch.OutOfMemoryError
        return real(module, batch)

    TextClassifier.loss = loss  # type: ignore[method-assign, assignment]


if os.getpgrp() != os.getpid():  # torchrun has given its processes groups of their own
    os.setpgrp()
original = Fit.callbacks
Fit.callbacks = lambda self: [DieInTime(), *original(self), DieLate()]  # type: ignore[method-assign]
if PLACE == "while_saving":
    die_while_saving(Path("last.ckpt"), int(NUMBER))
if "SHORT_RANK" in os.environ:
    run_out_of_memory(int(os.environ["SHORT_RANK"]))
if "IN_BACKGROUND" in os.environ:
    trainer_parts.AtomicCheckpointIO = BackgroundCheckpointIO  # type: ignore[attr-defined]
main(sys.argv[1:])
