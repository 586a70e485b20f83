import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.training_curve import TrainingCurve
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.history import History
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


def points(run: RunDirectory, name: str) -> dict[int, float]:
    """One curve of the history."""
    with run.history.open() as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["name"] == name}


def test_mean_loss_of_all_accumulated_batches_since_the_last_point(run: RunDirectory, tmp_path: Path) -> None:
    module = ScriptedModule(losses=[1, 2, 3, 4, 5, 6, 7, 20], gradients=[0, 0, 3, 5, 0, 0, 8, 2])
    watched = trainer(tmp_path, TrainingCurve(), loggers=[History(run)], accumulate_grad_batches=2, log_every_n_steps=2)
    watched.fit(module, datamodule=ScriptedData(train=8))
    assert points(run, "train/loss") == pytest.approx({2: 2.5, 4: 9.5})
    # Two batches make a step, and a step's gradient is their mean.
    assert points(run, "train/gradient_norm") == pytest.approx({2: 4.0, 4: 5.0})
    assert points(run, "train/learning_rate") == {2: 0.5, 4: 0.5}


def test_the_gradient_norm_is_the_one_before_clipping(run: RunDirectory, tmp_path: Path) -> None:
    module = ScriptedModule(losses=[1, 1], gradients=[30, -40])
    trainer(tmp_path, TrainingCurve(), loggers=[History(run)], gradient_clip_val=1.0).fit(
        module, datamodule=ScriptedData(train=2)
    )
    assert points(run, "train/gradient_norm") == pytest.approx({1: 30, 2: 40})
    assert float(module.weight.detach()) == pytest.approx(-0.5 + 0.5, abs=1e-6)


def test_an_interval_may_cross_an_epoch_and_a_resume(run: RunDirectory, tmp_path: Path) -> None:
    losses = [1, 2, 3, 4, 5, 6]
    expected = {2: 1.5, 4: 3.5, 6: 5.5}
    data = ScriptedData(train=3)
    alone = trainer(tmp_path, TrainingCurve(), loggers=[History(run)], max_epochs=2, log_every_n_steps=2)
    alone.fit(ScriptedModule(losses), datamodule=data)
    assert points(run, "train/loss") == pytest.approx(expected)

    run.history.unlink()
    first = trainer(tmp_path, TrainingCurve(), loggers=[History(run)], max_epochs=1, log_every_n_steps=2)
    first.fit(ScriptedModule(losses), datamodule=data)
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed = trainer(tmp_path, TrainingCurve(), loggers=[History(run)], max_epochs=2, log_every_n_steps=2)
    resumed.fit(ScriptedModule(losses[3:]), datamodule=data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert points(run, "train/loss") == pytest.approx(expected)


class Reads(Callback):
    """Notes the steps in which Lightning or this project reads a tensor: on a GPU each read waits for the step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: set[int] = set()
        self._step = 0
        for name in ("item", "__float__", "__bool__"):
            patch.setattr(torch.Tensor, name, self._noting(getattr(torch.Tensor, name)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._step = trainer.global_step + 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = 0

    def _noting(self, read: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
        def noting(tensor: torch.Tensor) -> Any:
            reader = Path(sys._getframe(1).f_code.co_filename).parts
            if self._step and {"lightning", "peft_lightning"} & set(reader):
                self.steps.add(self._step)
            return read(tensor)

        return noting


def test_a_figure_is_read_from_the_device_only_in_the_steps_that_log(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    watched = trainer(tmp_path, reads, TrainingCurve(), loggers=[History(run)], log_every_n_steps=4)
    watched.fit(ScriptedModule(losses=[1] * 10), datamodule=ScriptedData(train=10))
    assert reads.steps == {4, 8}
    assert watched.progress_bar_metrics["train/loss"] == 1.0
    assert float(watched.callback_metrics["train/loss"]) == 1.0
