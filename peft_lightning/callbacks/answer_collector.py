"""Hands the answers of ``predict`` on, batch by batch, those of all processes in the first."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.task.gathering import gathered

Array = npt.NDArray[Any]


class AnswerCollector(Callback):
    """Hands on rows and their answers; batches come in the same order whatever the number of processes.

    Args:
        keep: Takes the rows of a batch, shape (n,), and their answers, shape (n, …); in the first process alone.
    """

    def __init__(self, keep: Callable[[npt.NDArray[np.int64], Array], None]) -> None:
        self._keep = keep

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hands on what the processes have answered."""
        answered = (batch["index"].cpu().numpy(), outputs.cpu().numpy())
        for index, answers in gathered(answered):
            # A process that has no batch left repeats its last one, with rows below 0.
            if trainer.is_global_zero and index[0] >= 0:
                self._keep(index, answers)
