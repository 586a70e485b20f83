"""What a run's directory says of the model that it trained: settings, weights and task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_lightning.errors import UserError
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.directory import checkpoint_of
from peft_lightning.task import Task, problem_type_in, task_named
from peft_lightning.task.calibration import Calibration

# The entry of a checkpoint's own section.
CALIBRATION = "calibration"


@dataclass(frozen=True)
class TrainedRun:
    """What is needed to answer with a run's model.

    Args:
        model: The section ``model`` of its configuration.
        checkpoint: What the checkpoint holds.
        task: What it was trained for.
        texts: How it read its texts.
    """

    model: Config
    checkpoint: dict[str, Any]
    task: Task
    texts: TextSettings


def read_trained(run: Path, checkpoint: str) -> TrainedRun:
    """Reads a run's configuration and one of its checkpoints.

    Args:
        run: The run's directory.
        checkpoint: ``best``, ``last``, or a file.

    Raises:
        UserError: The directory holds no run, or the checkpoint cannot be read.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} holds no run (config.yaml): name a run, such as lightning_logs/lora/version_0")
    config = read_config(path)
    weights = checkpoint_of(run, checkpoint) if checkpoint in ("best", "last") else Path(checkpoint)
    content = read_checkpoint(weights)
    return TrainedRun(config["model"], content, task_in_checkpoint(content, weights), TextSettings.of(config))


def calibration_in(checkpoint: Mapping[str, Any]) -> Calibration | None:
    """Returns what was fitted on the answers of a checkpoint's weights; None if nothing was.

    Args:
        checkpoint: What the checkpoint holds.

    Raises:
        KeyError: If it holds it in part.
    """
    kept = checkpoint["peft_lightning"].get(CALIBRATION)
    return None if kept is None else Calibration.from_state(kept)


def task_in_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> Task:
    """Returns the task that a checkpoint was trained for, with what was fitted on its answers.

    Args:
        checkpoint: What the checkpoint holds.
        path: Its file, for the error.

    Raises:
        UserError: It does not say so.
    """
    state = checkpoint["peft_lightning"]
    try:
        task = task_named(problem_type_in(state)).from_state(state)
        return task.calibrated(calibration_in(checkpoint))
    except KeyError as error:
        raise UserError(
            f"{path} does not say which classes it was trained on: use best.ckpt or last.ckpt of a run"
        ) from error
