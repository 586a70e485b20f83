"""Shows a run's settings and figures in TensorBoard, and in the loggers that the settings name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from peft_lightning.runs.record import RunRecord
from peft_lightning.runs.row import as_markdown
from peft_lightning.runs.trackers import user_loggers


def show_settings(trainer: Trainer, hyperparameters: Mapping[str, Any]) -> None:
    """Shows the settings of a run that begins.

    Args:
        trainer: The Trainer, with its loggers.
        hyperparameters: The settings by their names.
    """
    # MLflow keeps a value in a file of its name, so that `method` and `method/r` would be a file and a folder.
    settings = {name.replace("/", "."): value for name, value in hyperparameters.items()}
    for logger in user_loggers(trainer.loggers):
        # TensorBoard's HPARAMS tab wants them together with the figures, when there are some.
        if not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(settings)


def show_figures(trainer: Trainer, hyperparameters: dict[str, Any], record: RunRecord) -> None:
    """Shows the figures of a finished run, and closes its loggers.

    Args:
        trainer: The Trainer, with its loggers.
        hyperparameters: The settings by their names, which TensorBoard's HPARAMS tab shows beside the figures.
        record: The run's record.
    """
    figures = {
        **{name: value for name, value in record.metrics.items() if value is not None},
        **_numbers("params", record.params),
        **_numbers("memory", record.memory),
        **_numbers("time", record.time),
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("run", as_markdown(record), trainer.global_step)
            logger.log_hyperparams(hyperparameters, figures, trainer.global_step)
        elif logger in user_loggers(trainer.loggers):
            logger.log_metrics(figures, trainer.global_step)
        logger.save()
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # a later run of this process is another one


def _numbers(section: str, figures: object) -> dict[str, float]:
    """Flattens a section of the record to its numbers, without nulls."""
    if figures is None or not dataclasses.is_dataclass(figures) or isinstance(figures, type):
        return {}
    values = dataclasses.asdict(figures)
    return {f"{section}/{name}": float(value) for name, value in values.items() if isinstance(value, int | float)}
