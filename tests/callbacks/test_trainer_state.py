from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.callbacks.trainer_state import TrainerState, as_a_start
from peft_lightning.runs.directory import RunDirectory
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


class Killed(BaseException):
    """Ends a fit: of the callbacks here none does anything about it, as after a kill."""


class KilledAt(Callback):
    """Breaks a fit off in a hook, after so many calls."""

    def __init__(self, hook: str, number: int = 1) -> None:
        self.calls = 0

        def call(*args: Any) -> None:
            self.calls += 1
            if self.calls == number:
                raise Killed

        setattr(self, hook, call)


def fit(
    run: RunDirectory, *callbacks: Callback, resumed: bool = False, scores: tuple[float, ...], **settings: Any
) -> tuple[Trainer, ScriptedModule]:
    """Trains four batches an epoch, and validates with these scores, epoch by epoch."""
    checkpoints = RunCheckpoints(every_n_steps=1, max_time_share=1)
    checkpoints.write_to(run)
    watched = trainer(run.path, TrainerState(), *callbacks, checkpoints, **{"max_epochs": len(scores), **settings})
    module = ScriptedModule(scores=scores)
    path = run.last if resumed else None
    with suppress(Killed):
        watched.fit(module, datamodule=ScriptedData(), ckpt_path=path, weights_only=True)
    return watched, module


def stopping(patience: int = 1, **more: Any) -> EarlyStopping:
    return EarlyStopping("val/acc", mode="max", patience=patience, **more)


def test_what_early_stopping_reads_at_an_epoch_s_end_survives_a_resume(run: RunDirectory) -> None:
    scores = (0.5, 0.6, 0.4, 0.9)
    fit(run, stopping(), KilledAt("on_train_epoch_end", 3), scores=scores)
    again = stopping()
    resumed, _ = fit(run, again, resumed=True, scores=scores)
    assert resumed.global_step == 12
    assert (again.stopped_epoch, again.wait_count) == (2, 1)
    assert float(again.best_score) == pytest.approx(0.6)


def test_so_do_the_metrics_of_the_last_epoch_within_the_next(run: RunDirectory) -> None:
    seen: list[float] = []

    class Reading(Callback):
        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            seen.append(float(trainer.callback_metrics.get("val/acc", torch.tensor(-1.0))))

    fit(run, KilledAt("on_train_batch_start", 7), scores=(0.5, 0.6))
    fit(run, Reading(), resumed=True, scores=(0.5, 0.6))
    assert seen == pytest.approx([0.5, 0.5])


def test_a_run_stopped_after_a_validation_within_an_epoch_has_ended_for_good(run: RunDirectory) -> None:
    # Killed in the test that follows, it only tests.
    scores = (0.5, 0.4, 0.9)
    stopped, _ = fit(run, stopping(), scores=scores, val_check_interval=0.5)
    assert stopped.global_step == 4 < 12
    resumed, module = fit(run, stopping(), resumed=True, scores=scores, val_check_interval=0.5)
    assert (resumed.global_step, module.batches) == (4, 0)


def test_a_wish_to_stop_that_has_to_wait_for_min_epochs_survives(run: RunDirectory) -> None:
    # Asked for after the second epoch; the third is better, so nobody asks again.
    scores = (0.5, 0.4, 0.9, 0.95, 0.99)
    alone, _ = fit(run, stopping(), scores=scores, min_epochs=3)
    assert alone.global_step == 12
    fit(run, stopping(), KilledAt("on_train_batch_start", 11), scores=scores, min_epochs=3)
    resumed, _ = fit(run, stopping(), resumed=True, scores=scores, min_epochs=3)
    assert resumed.global_step == 12


def test_a_run_that_starts_from_another_s_checkpoint_does_not_inherit_its_wish_to_stop(run: RunDirectory) -> None:
    fit(run, stopping(), scores=(0.5, 0.4, 0.9), val_check_interval=0.5)
    started_from = torch.load(run.last, weights_only=True)
    as_a_start(started_from)
    torch.save(started_from, run.last)
    resumed, _ = fit(run, resumed=True, scores=(0.5, 0.4, 0.9), val_check_interval=0.5)
    assert resumed.global_step == 12


def test_the_patience_is_that_of_this_run_s_settings(run: RunDirectory) -> None:
    fit(run, stopping(patience=1), KilledAt("on_train_batch_start", 7), scores=(0.5, 0.4))
    patient = stopping(patience=7)
    fit(run, patient, resumed=True, scores=(0.5, 0.4))
    assert patient.patience == 7


def test_a_validation_within_an_epoch_is_not_skipped_after_a_kill_just_before_it(run: RunDirectory) -> None:
    validations: list[int] = []

    class Counting(Callback):
        def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
            validations.append(trainer.global_step)

    fit(run, KilledAt("on_validation_start"), scores=(0.5,), val_check_interval=0.5)
    fit(run, Counting(), resumed=True, scores=(0.5,), val_check_interval=0.5)
    assert validations == [2, 4]


def test_a_checkpoint_that_waits_for_a_validation_is_written_after_a_resume(run: RunDirectory, tmp_path: Path) -> None:
    def keeping(folder: str) -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / folder, monitor="val/acc", mode="max", every_n_train_steps=1, save_top_k=-1)

    # Step 1 finds no val/acc yet; the first validation is after step 2.
    fit(run, keeping("alone"), scores=(0.5,), val_check_interval=0.5)
    fit(run, keeping("killed"), KilledAt("on_validation_start"), scores=(0.5,), val_check_interval=0.5)
    fit(run, keeping("killed"), resumed=True, scores=(0.5,), val_check_interval=0.5)
    names = [sorted(path.name for path in (tmp_path / folder).glob("*")) for folder in ("alone", "killed")]
    assert names[0] == names[1] != []
