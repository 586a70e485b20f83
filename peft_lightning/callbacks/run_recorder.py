"""The one writer of a run's record."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.callbacks.measuring import Measuring
from peft_lightning.callbacks.run_checkpoints import RunCheckpoints, checkpoint_bytes
from peft_lightning.engine.strategies import engine_of
from peft_lightning.runs.checkpoint_io import settle
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.environment import describe_environment
from peft_lightning.runs.record import (
    BackboneFigures,
    DatasetFigures,
    EngineFigures,
    EnvironmentFigures,
    MemoryFigures,
    ParameterFigures,
    RunRecord,
    Status,
    TimeFigures,
)
from peft_lightning.runs.row import as_markdown
from peft_lightning.task import Metric

SECTIONS = {"params": ParameterFigures, "memory": MemoryFigures, "time": TimeFigures, "engine": EngineFigures}


class RunRecorder(Callback):
    """Gathers what the measuring callbacks measured and writes ``results.json``.

    Args:
        run: Where the record goes.
        record: What is known of the run before it starts.
        hyperparameters: The settings shown beside the figures in TensorBoard's HPARAMS tab.
        describe: Words an error for the record, whose readers know settings by other names than an error's.
    """

    def __init__(
        self,
        run: RunDirectory,
        record: RunRecord,
        hyperparameters: dict[str, Any],
        describe: Callable[[BaseException], str] = str,
    ) -> None:
        self.run = run
        self.record = record
        self._hyperparameters = hyperparameters
        self._describe = describe
        self._environment: EnvironmentFigures | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes down what the run starts from."""
        self.record.problem_type = task_of(pl_module).problem_type
        self.record.backbone = BackboneFigures(**pl_module.backbone_identity)  # type: ignore[arg-type]
        self.record.dataset = DatasetFigures(**trainer.datamodule.description())  # type: ignore[attr-defined]
        self._environment = describe_environment(trainer)
        self._write(trainer, "running")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says and writes down what was chosen differently from what was asked."""
        if trainer.is_global_zero:
            for note in _notes(trainer, pl_module):
                print(f"note: {note}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the validation metrics of the best checkpoint."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        monitor, metric = self._monitored(trainer, pl_module)
        if monitor in metrics and metric.improves(metrics[monitor], self.record.metrics.get(monitor)):
            self.record.metrics |= metrics

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the test metrics."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        self.record.metrics |= metrics
        self.record.predictions = "predictions.parquet"

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Writes down how the run broke off; it stays resumable."""
        message = " ".join(self._describe(exception).split())
        self.record.error = message or type(exception).__name__
        # Lightning ends what is written in the background only after this, and the record says how large it is.
        settle(trainer.strategy.checkpoint_io)
        self._write(trainer, status_after(exception))

    def finish(self, trainer: Trainer) -> RunRecord:
        """Closes the record, and shows it in TensorBoard.

        Args:
            trainer: The Trainer that ran.

        Returns:
            The record as written.
        """
        self.record.error = None
        self._write(trainer, "finished")
        figures = {
            **self.record.metrics,
            **_numbers("params", self.record.params),
            **_numbers("memory", self.record.memory),
            **_numbers("time", self.record.time),
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("run", as_markdown(self.record), trainer.global_step)
                logger.log_hyperparams(self._hyperparameters, figures, trainer.global_step)
            logger.save()
            logger.finalize("success")
        return self.record

    def state_dict(self) -> dict[str, Any]:
        """Returns the metrics so far."""
        return {"metrics": dict(self.record.metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the metrics so far.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        # The metrics are those of the best checkpoint; a run that starts from another's has none of its own yet.
        self.record.metrics = dict(state_dict["metrics"]) if self.run.best.exists() else {}

    @staticmethod
    def _monitored(trainer: Trainer, pl_module: LightningModule) -> tuple[str, Metric]:
        """Returns the metric that chooses the best checkpoint."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        found = (callback for callback in callbacks if isinstance(callback, RunCheckpoints))
        return next(found, RunCheckpoints()).monitored(pl_module)

    def _write(self, trainer: Trainer, status: Status) -> None:
        # A fast development run leaves nothing behind, and has no directory to leave it in.
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        record = self.record
        record.status = status
        record.environment = self._environment
        record.notes = _notes(trainer, trainer.lightning_module)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Measuring) and (figures := callback.figures()):
                setattr(record, callback.section, SECTIONS[callback.section](**figures))
        record.history = self.run.history.name if self.run.history.exists() else None
        record.checkpoint_bytes = checkpoint_bytes(self.run)
        record.write(self.run.results)


def _notes(trainer: Trainer, pl_module: LightningModule) -> list[str]:
    """Returns what was done differently from what was asked, by the model and by the engine."""
    return [*pl_module.notes, *engine_of(trainer).notes]  # type: ignore[misc]


def status_after(exception: BaseException) -> Status:
    """Says how a run that ended with an exception ended.

    Args:
        exception: The exception.
    """
    if isinstance(exception, torch.OutOfMemoryError):
        return "out_of_memory"
    if isinstance(exception, KeyboardInterrupt | SIGTERMException):
        return "interrupted"
    return "failed"


def _numbers(section: str, figures: object) -> dict[str, float]:
    """Flattens a section's numbers; what was not measured is left out."""
    if figures is None or not dataclasses.is_dataclass(figures) or isinstance(figures, type):
        return {}
    values = dataclasses.asdict(figures)
    return {f"{section}/{name}": float(value) for name, value in values.items() if isinstance(value, int | float)}
