"""What the engine of a run's steps found out about the memory: kept over a resume, and found early under a limit."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.engine.strategy import EngineName, StepStrategy


class StepEngine(Callback):
    """Keeps in checkpoints how many examples go through at once; under a memory limit finds it before the first step.

    Args:
        limited: whether the run may take only a part of the memory.
    """

    def __init__(self, limited: bool = False) -> None:
        self._limited = limited
        self._rows: int | None = None
        self._notes: list[str] = []
        self._engine: EngineName | None = None
        self._strategy: StepStrategy | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes on with what a killed run had found."""
        if isinstance(trainer.strategy, StepStrategy):
            self._strategy = trainer.strategy
            self._strategy.rows = self._rows
            if self._engine is not None:
                self._strategy.engine, self._strategy.fallen_back = self._engine, True
            self._strategy.notes = list(dict.fromkeys([*self._notes, *self._strategy.notes]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tries the widest batch where memory is limited, so that no step has to be done twice."""
        if self._limited and self._strategy is not None:
            batch = trainer.datamodule.widest_training_batch()  # type: ignore[attr-defined]
            self._strategy.try_out(trainer.strategy.batch_to_device(batch))

    def state_dict(self) -> dict[str, Any]:
        """Returns what was found."""
        if self._strategy is None:
            return {"rows": self._rows, "notes": list(self._notes), "engine": self._engine}
        engine = self._strategy.engine if self._strategy.fallen_back else None
        return {"rows": self._strategy.rows, "notes": list(self._strategy.notes), "engine": engine}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with what was found.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self._rows, self._notes = state_dict["rows"], list(state_dict["notes"])
        self._engine = state_dict.get("engine")
