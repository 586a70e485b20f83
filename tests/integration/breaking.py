"""Callbacks that a recipe names: they break its runs as long as BREAKING is set, or hold them."""

import os
import time
from typing import Any

import torch
from lightning.pytorch import Callback

VARIABLE = "BREAKING"
HELD_IN = "HELD_IN"
PATIENCE_S = 900.0


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


class HeldBy(Callback):
    """Takes a second for the second step, and stands still in the third as long as a file exists.

    Progress is written every half second: on a fast machine there would be none of steps made.

    Args:
        file: The file.
    """

    def __init__(self, file: str) -> None:
        self._file = file

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 1:
            time.sleep(1.0)
        until = time.monotonic() + PATIENCE_S
        while trainer.global_step == 2 and os.path.exists(self._file) and not trainer.received_sigterm:
            if time.monotonic() > until:
                raise RuntimeError("nobody has let this run go")
            time.sleep(0.05)


class Held(Callback):
    """Stands still in the third step of the run whose folder ends as HELD_IN says, until a signal ends the run.

    What a signal does to a run under way is then seen on any machine: on a fast one the run would be over before.
    """

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        place = os.environ.get(HELD_IN)
        if place is None or trainer.global_step != 2 or not trainer.default_root_dir.endswith(place):
            return
        until = time.monotonic() + PATIENCE_S
        # Lightning notes SIGTERM and raises after the step; Ctrl-C raises here.
        while not trainer.received_sigterm:
            if time.monotonic() > until:
                raise RuntimeError("nobody has ended this run")
            time.sleep(0.05)
