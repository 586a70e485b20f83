"""The clock of runs that start up together and take their measured steps in turns, as a Lightning callback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.runs.files import write_atomically
from side_by_side.clock import synchronised
from side_by_side.gates import pass_gate

READY, TURN, CLOCK, END = "ready", "turn", "clock.json", "end"


class TurnClock(Callback):
    """Waits for its turn after the first steps, times the next ones, and waits again until all others have been timed.

    Args:
        folder: where the gate `turn` lies, and where `ready` and the figures go.
        end: the gate that all runs of a wave wait at in the end.
        warmup_steps: steps before the wait: they capture, and choose kernels.
        settle_steps: steps after the wait before the clock starts: the GPU's own clock rises again.
        steps: steps that are timed.
    """

    def __init__(self, folder: str, end: str, warmup_steps: int, settle_steps: int, steps: int) -> None:
        self._folder, self._end = Path(folder), Path(end)
        self._waits_at = warmup_steps
        self._begins_at = warmup_steps + settle_steps
        self._steps = steps
        self._waited = False
        self._began = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Waits for the turn, once."""
        if trainer.global_step == self._waits_at and not self._waited:
            self._waited = True
            synchronised()
            (self._folder / READY).touch()
            pass_gate(self._folder / TURN)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reads the clock twice, and waits after the second reading: the end of a run would disturb the next one."""
        if trainer.global_step == self._begins_at:
            self._began = synchronised()
        elif trainer.global_step == self._begins_at + self._steps:
            write_atomically(self._folder / CLOCK, json.dumps([self._began, synchronised()]).encode())
            pass_gate(self._end)
