"""The program, writing checkpoints in a thread as on a GPU, on a disk that is full when ENDS_WITH ends it at step 6."""

import os
import resource
import signal
import sys
from typing import Any

import torch
from lightning.pytorch import Callback

from peft_lightning.__main__ import main
from peft_lightning.commands import trainer_parts
from peft_lightning.commands.fit import Fit
from peft_lightning.runs.background_io import BackgroundCheckpointIO

ROOM = 1 << 16


class FullDisk(Callback):
    """No file grows beyond what the small ones of a run take, which the system says as it says that a disk is full."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        if trainer.global_step == 6:
            if os.environ["ENDS_WITH"] == "no memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            os.kill(os.getpid(), signal.Signals[os.environ["ENDS_WITH"]])


# What is started in the background is deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
original = Fit.callbacks
Fit.callbacks = lambda self: [FullDisk(), *original(self)]  # type: ignore[method-assign]
trainer_parts.AtomicCheckpointIO = BackgroundCheckpointIO  # type: ignore[attr-defined]
main(sys.argv[1:])
