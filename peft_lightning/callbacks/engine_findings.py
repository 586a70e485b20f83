"""What the engine of a run's steps found out: recorded, kept over a resume, and found early under a memory limit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.engine.engine import Engine
from peft_lightning.engine.strategies import engine_of
from peft_lightning.engine.training_data import training_data


class EngineFindings(Callback):
    """Records how steps ran, and keeps in checkpoints what a resumed run need not find out again.

    Args:
        limited: Whether the run may take only a part of the memory: then the micro-batches that fit are found before
            the first step.
    """

    section = "engine"

    def __init__(self, limited: bool = False) -> None:
        self._limited = limited
        self._earlier: dict[str, Any] = {}
        self._engine: Engine | None = None
        self._batch_size: int | None = None

    @property
    def state_key(self) -> str:
        """The name in checkpoints, which is this callback's first."""
        return "StepEngine"

    def figures(self) -> Mapping[str, Any]:
        """Returns the record's ``engine`` section."""
        return dataclasses.asdict(self._engine.figures(self._batch_size)) if self._engine is not None else {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Looks what computes the steps, before anything of a run can fail."""
        self._engine = engine_of(trainer)
        data = training_data(trainer)
        self._batch_size = data.batch_size if data is not None else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes on with what a killed run had found."""
        if self._engine is not None and self._earlier:
            self._engine.load_state_dict(self._earlier)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tries the widest batch where memory is limited, so that no step has to be done twice."""
        if self._engine is not None and self._limited:
            self._engine.try_out(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Returns what was found."""
        found = self._engine.state_dict() if self._engine is not None else {}
        # What an engine had found is there for it again, if another one has run meanwhile.
        return found or dict(self._earlier)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with what was found.

        Args:
            state_dict: What ``state_dict`` returned; older checkpoints have another name for the micro-batch size, and
                may lack the engine.
        """
        size = state_dict["rows"] if "rows" in state_dict else state_dict["micro_batch_size"]
        self._earlier = {
            "micro_batch_size": size,
            "notes": list(state_dict["notes"]),
            "engine": state_dict.get("engine"),
        }
