"""A callback that ends a process after its first training step, and writes what it took to get there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from side_by_side.driver_memory import peak_rss_gib

RESULT, STARTED = "FIRST_STEP_RESULT", "FIRST_STEP_STARTED"


class FirstStep(Callback):
    """Writes wall and processor time since the process's start and its peak memory, then ends the process.

    The environment names the file (``FIRST_STEP_RESULT``) and the time of the start (``FIRST_STEP_STARTED``, seconds
    since 1970). Nothing after the step is measured: testing costs what testing costs.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Ends the process after the first batch."""
        times = os.times()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        figures = {
            "wall_s": time.time() - float(os.environ[STARTED]),
            "cpu_s": times.user + times.system + times.children_user + times.children_system,
            "peak_rss_gib": peak_rss_gib(),
            "data": data.description(),
        }
        Path(os.environ[RESULT]).write_text(json.dumps(figures), encoding="utf-8")
        os._exit(0)
