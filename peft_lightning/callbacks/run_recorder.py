"""The callback that writes a run's record; nothing else does."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peft_lightning.callbacks.measured_device import cuda_device
from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.callbacks.measuring import Measuring
from peft_lightning.callbacks.run_checkpoints import RunCheckpoints, checkpoint_bytes
from peft_lightning.callbacks.run_notes import RunNotes
from peft_lightning.callbacks.shown_figures import show_figures, show_settings
from peft_lightning.gone_reader import is_reader_gone
from peft_lightning.runs.checkpoint_io import settle
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.environment import describe_environment
from peft_lightning.runs.process_start import runs_on_device
from peft_lightning.runs.record import (
    SECTIONS,
    BackboneFigures,
    DatasetFigures,
    EnvironmentFigures,
    MemoryFigures,
    RunRecord,
    Status,
    TimeFigures,
)
from peft_lightning.stop_signals import listen_again, received
from peft_lightning.task import Metric, recorded


class RunRecorder(Callback):
    """Collects the figures of the measuring callbacks and writes ``results.json``.

    Args:
        run: The run's directory.
        record: The record, with what is known before the run starts.
        hyperparameters: The settings shown beside the figures in TensorBoard's HPARAMS tab and the user's own loggers.
        describe: Returns an error's message for the record, which names settings as flags of the command line.
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
        self._notes = RunNotes()
        # Why times and memory are not measured; a run keeps it over its attempts.
        self._not_measured: str | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the backbone, the data and the environment."""
        self.record.problem_type = task_of(pl_module).problem_type
        self.record.backbone = BackboneFigures(**pl_module.backbone_identity)  # type: ignore[arg-type]
        self.record.dataset = DatasetFigures(**trainer.datamodule.description())  # type: ignore[attr-defined]
        self._environment = describe_environment(trainer)
        if (runs := runs_on_device()) > 1:
            device = "CPU" if cuda_device(trainer) is None else "GPU"
            self._not_measured = f"runs shared the {device}"
            self.add_note(f"times and memory are not measured, because up to {runs} runs shared the {device}")
        show_settings(trainer, self._hyperparameters)
        self._write(trainer, "running")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints how the run differs from its settings."""
        self._notes.see_engines(trainer)
        if trainer.is_global_zero:
            for note in self._notes.of_all(trainer):
                print(f"note: {note}", flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns what the engines of all processes have noted since the last validation."""
        self._notes.see_engines(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that training ended before its last step, as a time limit or an early stopping has it.

        A run that was killed after its training has no step left when it goes on, and Lightning calls no
        ``on_train_end`` then.
        """
        said_at_once = self._notes.see_end(trainer)
        if trainer.is_global_zero:
            for note in said_at_once:
                print(f"note: {note}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the validation metrics of the best checkpoint."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._notes.see_engines(trainer)
        metrics = _measured(trainer, "val/")
        monitor, metric = self._monitored(trainer, pl_module)
        best = self.record.metrics.get(monitor)
        # As long as there is no best checkpoint, because the monitor is undefined, the last weights count.
        if monitor in metrics and (best is None or metric.improves(metrics[monitor], best)):
            self.record.metrics |= metrics

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the test metrics."""
        self.record.metrics |= _measured(trainer, "test/")
        self.record.predictions = "predictions.parquet"

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Records the error that stopped the run, which can still be resumed."""
        # A second Ctrl-C ends the process at once, also while the checkpoints are written.
        listen_again()
        exception = received() or exception
        message = " ".join(self._describe(exception).split())
        self.record.error = message or type(exception).__name__
        # Lightning waits for checkpoints in the background only after this, and the record states their size.
        settle(trainer.strategy.checkpoint_io)
        self._write(trainer, status_after(exception))

    def stop(self, trainer: Trainer, stop: KeyboardInterrupt) -> None:
        """Records that the run was interrupted where no loop of the Trainer was running, so that no hook was called."""
        if self.record.status != "running":
            return
        if self._environment is not None:
            self.on_exception(trainer, trainer.lightning_module, stop)
            for logger in trainer.loggers:
                logger.finalize("failed")
            return
        # Nothing is measured yet, and a resumed run's record has what was measured before.
        earlier = RunRecord.read(self.run.results)
        earlier.status, earlier.error = "interrupted", str(stop) or type(stop).__name__
        earlier.write(self.run.results)

    def finish(self, trainer: Trainer) -> RunRecord:
        """Writes the record of a finished run, and shows it in TensorBoard and in the user's own loggers.

        Returns:
            The record as written.
        """
        self.record.error = None
        self._write(trainer, "finished")
        show_figures(trainer, self._hyperparameters, self.record)
        return self.record

    def state_dict(self) -> dict[str, Any]:
        """Returns the metrics so far, where the run went on from, and its own notes."""
        return {
            "metrics": dict(self.record.metrics),
            "origins": self._notes.own,
            "not_measured": self._not_measured,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the metrics so far.

        Args:
            state_dict: What ``state_dict`` returned; older checkpoints lack all but the metrics.
        """
        self._notes.go_on_from(state_dict.get("origins", []))
        self._not_measured = self._not_measured or state_dict.get("not_measured")
        # These are the metrics of the best checkpoint. A run that starts from another run's checkpoint has none yet.
        self.record.metrics = dict(state_dict["metrics"]) if self.run.best.exists() else {}

    def add_note(self, note: str) -> None:
        """Adds a note on how this process's part of the run differs from its settings."""
        self._notes.remark(note)

    def add_origin(self, checkpoint: dict[str, Any], note: str) -> None:
        """Adds to another run's checkpoint a note that this run goes on from it, for this run's record.

        Args:
            checkpoint: The content of the checkpoint, which is changed.
            note: The note, after those on where the other run itself went on.
        """
        state = checkpoint.setdefault("callbacks", {}).setdefault(self.state_key, {"metrics": {}})
        state["origins"] = [*state.get("origins", []), note]

    @staticmethod
    def _monitored(trainer: Trainer, pl_module: LightningModule) -> tuple[str, Metric]:
        """Returns the name of the metric that chooses the best checkpoint, and the metric."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        found = (callback for callback in callbacks if isinstance(callback, RunCheckpoints))
        return next(found, RunCheckpoints()).monitored(pl_module)

    def _write(self, trainer: Trainer, status: Status) -> None:
        # A run with fast_dev_run has no directory and writes nothing.
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        record = self.record
        record.status = status
        record.environment = self._environment
        record.notes = self._notes.of_all(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Measuring) and (figures := callback.figures()):
                setattr(record, callback.section, SECTIONS[callback.section](**figures))
        record.not_measured = self._not_measured
        if self._not_measured is not None:
            record.memory = MemoryFigures()
            record.time = TimeFigures(start=record.time.start, steps=record.time.steps)
        record.history = self.run.history.name if self.run.history.exists() else None
        record.checkpoint_bytes = checkpoint_bytes(self.run)
        record.write(self.run.results)


def _measured(trainer: Trainer, split: str) -> dict[str, float | None]:
    """Returns the metrics of a split: None for those that its examples leave undefined."""
    metrics = trainer.callback_metrics
    return {name: recorded(float(value)) for name, value in metrics.items() if name.startswith(split)}


def status_after(exception: BaseException) -> Status:
    """Returns the status of a run that an exception ended."""
    if isinstance(exception, torch.OutOfMemoryError):
        return "out_of_memory"
    if isinstance(exception, KeyboardInterrupt | SIGTERMException) or is_reader_gone(exception):
        return "interrupted"
    return "failed"
