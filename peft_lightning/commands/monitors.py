"""Checks what callbacks monitor, before the first step: that it is measured, and in which direction it is better."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.callbacks.stopping import TaskEarlyStopping
from peft_lightning.errors import UserError
from peft_lightning.task import Metric, Task
from peft_lightning.task.metric import LOSS

# What Lightning's ModelCheckpoint can monitor beside metrics; either direction has its use.
COUNTERS = ("step", "epoch")


def check_monitors(trainer: Trainer, task: Task, validation: Any) -> None:
    """Refuses monitors that are not measured, are undefined on the validation split, or have the wrong direction.

    Lightning finds out at the end of the first epoch; a wrong direction it does not find out at all.

    Args:
        trainer: The Trainer, for its callbacks.
        task: The task, for its metrics.
        validation: The targets of the validation rows, shape (n, …).

    Raises:
        UserError: If there is such a monitor.
    """
    undefined = task.undefined(validation)
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    chooses = next((callback.monitor for callback in callbacks if isinstance(callback, RunCheckpoints)), None)
    for callback in callbacks:
        if isinstance(callback, TaskEarlyStopping):
            callback.follow(task, chooses)
    for callback in callbacks:
        name = "early_stopping" if isinstance(callback, TaskEarlyStopping) else type(callback).__name__
        if isinstance(callback, RunCheckpoints):
            callback.check_monitor(task)
            if callback.monitor is not None:
                _require_defined(f"checkpoint.monitor {callback.monitor}", callback.monitor, undefined, task)
        elif isinstance(monitor := getattr(callback, "monitor", None), str):
            if isinstance(callback, ModelCheckpoint) and monitor in COUNTERS:
                continue
            known = {metric.validation: metric for metric in task.monitored} | {f"train/{LOSS.key}": LOSS}
            if monitor not in known:
                shown = [metric.validation for metric in (*task.shown(), LOSS)] + [f"train/{LOSS.key}"]
                raise UserError(f"{name} monitors {monitor}, which is not measured: {measured(monitor, known, shown)}")
            _require_defined(f"{name} monitors {monitor}, which", monitor, undefined, task)
            _require_validation(f"{name} monitors {monitor}", monitor, trainer)
            _require_direction(callback, monitor, known[monitor])


def measured(monitor: str, known: Iterable[str], listed: Iterable[str]) -> str:
    """Words what could be monitored.

    Args:
        monitor: The unknown name.
        known: The names that there are.
        listed: Those of them that the line shows: with those of each class there may be hundreds.
    """
    near = difflib.get_close_matches(monitor.replace("_", "/", 1), list(known), 1)
    return f"{f'did you mean {near[0]}? ' if near else ''}there are {', '.join(listed)}"


def _require_defined(what: str, monitor: str, undefined: Iterable[str], task: Task) -> None:
    if (key := monitor.rpartition("/")[2]) in undefined:
        # A metric of one label has the label's name after a dot.
        why = f"of which none is {key.partition('.')[2]}" if "." in key else task.why_undefined
        raise UserError(
            f"{what} is undefined on these validation rows, {why}: validate on more of them,"
            " --data.n_val, or monitor another metric"
        )


def _require_validation(what: str, monitor: str, trainer: Trainer) -> None:
    if monitor.startswith("val/") and trainer.limit_val_batches == 0:
        raise UserError(f"{what}, and trainer.limit_val_batches 0 leaves the validation out: leave out one of both")


def _require_direction(callback: Any, monitor: str, metric: Metric) -> None:
    right = "max" if metric.higher_is_better else "min"
    # Without a choice among checkpoints the direction changes nothing.
    chooses = getattr(callback, "save_top_k", 1) > 0
    if chooses and getattr(callback, "mode", right) != right:
        raise UserError(
            f"{type(callback).__name__} monitors {monitor} with mode {callback.mode}, and the {metric.extreme}"
            f" {metric.name} is best: say mode: {right}"
        )
