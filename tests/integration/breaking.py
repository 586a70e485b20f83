"""Callbacks that a recipe names to break its runs, as long as BREAKING is set."""

import os
from typing import Any

import torch
from lightning.pytorch import Callback

VARIABLE = "BREAKING"


class OutOfMemory(Callback):
    """Runs out of memory in the third step, as torch does: it raises the error of its allocator."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if VARIABLE in os.environ and trainer.global_step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Crash(Callback):
    """Fails in the third step."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if VARIABLE in os.environ and trainer.global_step == 2:
            raise RuntimeError("the disk\nis on fire")


class Killed(Callback):
    """Is killed in the third step, as a machine without memory kills."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if VARIABLE in os.environ and trainer.global_step == 2:
            os.kill(os.getpid(), 9)
