"""Records how the engine ran the steps, and saves in checkpoints what it found out about the run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.engine.earlier_findings import most_careful
from peft_lightning.engine.engine import Engine
from peft_lightning.engine.strategies import engine_of
from peft_lightning.engine.training_data import training_data
from peft_lightning.runs.record import StepFigures
from peft_lightning.task.gathering import gathered, process_number


class EngineFindings(Callback):
    """Records how steps ran, and saves the engine's findings in checkpoints, so that a resumed run has them.

    Args:
        limited: Whether the run has a memory limit. If so, the size of micro-batches that fit is found before the first
            step.
    """

    section = "engine"

    def __init__(self, limited: bool = False) -> None:
        self._limited = limited
        self._earlier: dict[str, Any] = {}
        self._engine: Engine | None = None
        self._batch_size: int | None = None
        self._processes = self._accumulated = 1
        self._by_process: list[StepFigures] = []

    @property
    def state_key(self) -> str:
        """The callback's key in checkpoints: its original class name, which older checkpoints have."""
        return "StepEngine"

    def figures(self) -> Mapping[str, Any]:
        """Returns the record's ``engine`` section."""
        if self._engine is None:
            return {}
        sizes = {"processes": self._processes, "batch_size": self._batch_size}
        if self._batch_size is not None:
            sizes["global_batch_size"] = self._batch_size * self._processes * self._accumulated
        own = self._engine.figures(self._batch_size)
        each = [own if number == process_number() else other for number, other in enumerate(self._by_process)]
        return dataclasses.asdict(own) | sizes | {"by_process": each if len(each) > 1 else None}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gets the engine and the batch size early, so that the record of a failed run has them."""
        self._engine = engine_of(trainer)
        data = training_data(trainer)
        self._batch_size = data.batch_size if data is not None else None
        self._processes, self._accumulated = trainer.world_size, trainer.accumulate_grad_batches

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Passes to the engine what this process found, of a checkpoint of as many processes."""
        if self._engine is not None and self._earlier:
            each = self._earlier.get("processes", [self._earlier])
            same_number = len(each) == trainer.world_size
            self._engine.load_state_dict(each[trainer.global_rank] if same_number else most_careful(each))
        # A run that was killed after its training has no step left, and calls none of the hooks below.
        self._see_processes()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tries the widest batch where memory is limited, so that no step has to be done twice."""
        if self._engine is not None and self._limited:
            self._engine.try_out(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns how the steps of all processes run."""
        self._see_processes()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns how the steps of all processes ran."""
        self._see_processes()

    def _see_processes(self) -> None:
        """Learns the figures of all processes; every process calls it, at the same place."""
        if self._engine is not None:
            self._by_process = gathered(self._engine.figures(self._batch_size))

    def state_dict(self) -> dict[str, Any]:
        """Returns the engine's findings: the first process's, and of several processes a list beside them."""
        found = gathered(self._engine.state_dict() if self._engine is not None else {})
        # The findings of an earlier engine are kept if another engine runs this time.
        own = found[0] or dict(self._earlier)
        return own if len(found) == 1 or not found[0] else own | {"processes": found}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the findings of a checkpoint until the fit starts.

        Args:
            state_dict: What ``state_dict`` returned. Older checkpoints call the micro-batch size ``rows``, and may lack
                the engine and the other processes.
        """
        size = state_dict["rows"] if "rows" in state_dict else state_dict["micro_batch_size"]
        self._earlier = {
            "micro_batch_size": size,
            "notes": list(state_dict["notes"]),
            "engine": state_dict.get("engine"),
        }
        if "processes" in state_dict:
            self._earlier["processes"] = list(state_dict["processes"])
