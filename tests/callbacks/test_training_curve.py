import csv
from pathlib import Path

import pytest

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
