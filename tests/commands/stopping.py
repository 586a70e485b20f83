"""A callback that breaks a run off where the environment says: the configuration is the same with and without."""

import os
from typing import Any

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
        raise RuntimeError("something\nbroke")
