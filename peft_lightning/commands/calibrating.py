"""What ``fit`` does around a calibration: checks that it can be fitted, keeps it with the weights, and words it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers.logger import DummyLogger

from peft_lightning.callbacks.calibrator import Calibrator
from peft_lightning.callbacks.run_recorder import RunRecorder
from peft_lightning.errors import Setting, UserError
from peft_lightning.module.trained import CALIBRATION
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint, settle
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task, task_named
from peft_lightning.task.calibration import Calibration, CalibrationSettings


def check_calibration(trainer: Trainer, asked: CalibrationSettings, task: Task, validation: Any) -> None:
    """Refuses what could not be fitted after training.

    Args:
        trainer: The Trainer, for its limits.
        asked: What is to be fitted.
        task: The task of the labels.
        validation: The targets of the validation rows, shape (n, …).

    Raises:
        UserError: If there is no validation, or the task or the validation rows do not suffice.
    """
    if not asked:
        return
    if trainer.limit_val_batches == 0:
        raise UserError(
            "a calibration is fitted on the validation, which trainer.limit_val_batches 0 leaves out: leave out one of"
            " both, ",
            Setting("calibration.temperature" if asked.temperature else "calibration.thresholds"),
        )
    task.check_calibration(asked, validation.numpy())


def calibrate(
    trainer: Trainer, calibrator: Calibrator, recorder: RunRecorder, checkpoint: Path, validate: Callable[[], None]
) -> None:
    """Validates the weights that are tested once more, fits on their answers, and keeps the result with them.

    Args:
        trainer: The Trainer.
        calibrator: Its callback that fits.
        recorder: Its callback that gets the notes.
        checkpoint: The file of these weights.
        validate: Validates them.
    """
    # The run's curves have this validation already; callbacks may still look for a logger.
    loggers, trainer.loggers = trainer.loggers, [DummyLogger()]
    try:
        validate()
    finally:
        trainer.loggers = loggers
    for note in calibrator.notes:
        recorder.add_note(note)
        if trainer.is_global_zero:
            print(f"note: {note}", flush=True)
    if trainer.is_global_zero and calibrator.calibration is not None:
        settle(trainer.strategy.checkpoint_io)
        keep_calibration(checkpoint, calibrator.calibration)


def keep_calibration(path: Path, calibration: Calibration) -> None:
    """Adds what was fitted to the checkpoint whose answers it was fitted on; the file is replaced as a whole.

    Args:
        path: The checkpoint.
        calibration: What was fitted.
    """
    checkpoint = read_checkpoint(path)
    checkpoint["peft_lightning"][CALIBRATION] = calibration.state()
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def as_text(record: RunRecord) -> list[str]:
    """Words what was fitted and what it changes, in lines for the terminal; empty if nothing was fitted.

    Args:
        record: The run's record.
    """
    fitted = record.calibration
    if fitted is None:
        return []
    split = "test" if any(name.startswith("test/") for name in fitted.after) else "val"
    task = task_named(record.problem_type)
    keys = ["log_loss", "ece"] if fitted.temperature is not None else []
    if fitted.thresholds_by is not None:
        keys += dict.fromkeys((fitted.thresholds_by, "f1", task.headline.key))
    changes = []
    for key in keys:
        name = f"{split}/{key}"
        if name in fitted.after:
            metric = task.metric(key)
            before, after = metric.words(fitted.before.get(name)), metric.words(fitted.after[name])
            changes.append(f"{metric.name} {before} -> {after}")
    what = [f"temperature {fitted.temperature:.3f}"] if fitted.temperature is not None else []
    if fitted.thresholds:
        names = [f"{name} above {value:.3f}" for name, value in fitted.thresholds.items()]
        what.append(names[0] if len(names) == 1 else f"{len(names)} thresholds")
    where = "test" if split == "test" else "validation, which it was fitted on"
    return [f"calibrated on {fitted.n_val:,} validation rows: {', '.join(what)}; {where}: {', '.join(changes)}"]
