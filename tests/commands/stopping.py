"""A callback that breaks a run off where the environment says: the configuration is the same with and without."""

import os
import signal
from typing import Any

import torch
from lightning.pytorch import Callback

AT = "STOP_AT_STEP"
WITH = "STOP_WITH"


class StopAt(Callback):
    """Raises what STOP_WITH says at the optimiser step that STOP_AT_STEP says; `test` means in the final test."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if os.environ.get(AT) == str(trainer.global_step):
            self._stop()

    def on_test_batch_start(self, trainer: Any, *args: Any) -> None:
        if os.environ.get(AT) == "test":
            self._stop()

    @staticmethod
    def _stop() -> None:
        if os.environ[WITH] == "Ctrl-C":
            raise KeyboardInterrupt
        if os.environ[WITH] == "no memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if os.environ[WITH] == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise RuntimeError("something\nbroke")


class FailsWhenTold(Callback):
    """Fails itself when it is told why the run ends, and so keeps that from whoever would be told next."""

    def on_exception(self, *args: Any) -> None:
        raise RuntimeError("the teller\nbroke")
