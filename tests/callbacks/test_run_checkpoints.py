import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints, checkpoint_bytes
from peft_lightning.errors import UserError
from peft_lightning.runs import checkpoint_io
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.runs.directory import RunDirectory
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


class Saves(AtomicCheckpointIO):
    """Writes checkpoints, and keeps count of them: name, optimiser step and batches of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int]] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
        self.seen.append((Path(path).stem, checkpoint["global_step"], batches))
        super().save_checkpoint(checkpoint, path, storage_options)

    def steps(self, name: str) -> list[int]:
        return [step for stem, step, _ in self.seen if stem == name]


def fit(run: RunDirectory, checkpoints: RunCheckpoints, scores: list[float], train: int = 4, **settings: Any) -> Saves:
    """Trains as many epochs as there are scores and returns what was saved."""
    saves = Saves()
    checkpoints.write_to(run)
    watched = trainer(run.path, checkpoints, plugins=[saves], **{"max_epochs": len(scores), **settings})
    watched.fit(ScriptedModule(scores=scores), datamodule=ScriptedData(train=train))
    return saves


def test_best_is_replaced_by_a_better_one_only(run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=0)
    saves = fit(run, checkpoints, [0.5, 0.7, 0.7, 0.6, 0.8, 0.1])
    assert saves.steps("best") == [4, 8, 20]
    assert saves.steps("last") == [4, 8, 12, 16, 20, 24]
    assert checkpoints.best_score == pytest.approx(0.8)
    assert checkpoints.best_step == 20
    best = torch.load(run.best, weights_only=True)
    assert best["global_step"] == 20
    assert "optimizer_states" not in best
    assert "optimizer_states" in torch.load(run.last, weights_only=True)
    assert checkpoint_bytes(run) == run.best.stat().st_size


def test_an_undefined_metric_is_passed_over_and_said(run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=0)
    with pytest.warns(UserWarning, match=r"val/acc is undefined .* the best checkpoint is that of step 8"):
        saves = fit(run, checkpoints, [math.nan, 0.5, math.nan, 0.4])
    assert saves.steps("best") == [8]
    assert checkpoints.best_score == pytest.approx(0.5)
    assert checkpoints.notes == [
        "the metric that chooses the best checkpoint was undefined at step 12: that validation was passed over, and the"
        " best checkpoint is that of step 8"
    ]


def test_where_it_is_never_defined_the_last_weights_count(run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=0)
    with pytest.warns(UserWarning, match="the last weights count"):
        saves = fit(run, checkpoints, [math.nan, math.nan])
    assert (saves.steps("best"), saves.steps("last")) == ([], [4, 8])
    assert checkpoints.best_step is None


def test_of_a_loss_the_lowest_is_the_best(run: RunDirectory) -> None:
    # The scripted loss is one minus the score.
    checkpoints = RunCheckpoints(every_n_steps=0, monitor="val/loss")
    assert fit(run, checkpoints, [0.5, 0.7, 0.6, 0.8]).steps("best") == [4, 8, 16]
    assert checkpoints.best_score == pytest.approx(0.2)


def test_a_resumed_run_compares_with_the_best_before(run: RunDirectory) -> None:
    first = RunCheckpoints(every_n_steps=0)
    fit(run, first, [0.7])
    resumed = RunCheckpoints(every_n_steps=0)
    resumed.write_to(run)
    resumed.load_state_dict(first.state_dict())
    assert fit(run, resumed, [0.6, 0.9]).steps("best") == [8]


def test_a_run_that_starts_from_another_one_s_checkpoint_finds_its_own_best(run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=0)
    checkpoints.write_to(run)
    checkpoints.load_state_dict({"best_score": 0.99, "best_step": 4, "saved_step": 4})
    assert fit(run, checkpoints, [0.6, 0.5]).steps("best") == [4]


def test_last_is_written_every_n_steps_and_after_each_validation(run: RunDirectory) -> None:
    saves = fit(run, RunCheckpoints(every_n_steps=3, max_time_share=1), [0.5, 0.5], train=7)
    assert saves.steps("last") == [3, 6, 7, 9, 12, 14]


def test_nothing_is_saved_between_two_steps_of_accumulated_batches(run: RunDirectory) -> None:
    saves = fit(run, RunCheckpoints(every_n_steps=2, max_time_share=1), [0.5, 0.5], train=8, accumulate_grad_batches=2)
    assert saves.steps("last") == [2, 4, 6, 8]
    assert all(batches % 2 == 0 for _, _, batches in saves.seen)


def test_nor_where_an_epoch_ends_without_a_validation(run: RunDirectory) -> None:
    settings = {"accumulate_grad_batches": 2, "check_val_every_n_epoch": 2}
    saves = fit(run, RunCheckpoints(every_n_steps=2, max_time_share=1), [0.5, 0.5], **settings)
    # The first epoch ends at step 2; the gradient of the batch after it is in no checkpoint.
    assert all(batches % 2 == 0 for _, _, batches in saves.seen), saves.seen
    assert saves.steps("last")[-1] == 4


def test_without_a_validation_the_end_is_saved(run: RunDirectory) -> None:
    saves = fit(run, RunCheckpoints(every_n_steps=0), [0.5], limit_val_batches=0)
    assert saves.seen == [("last", 4, 4)]
    assert checkpoint_bytes(run) == run.last.stat().st_size


def test_a_sanity_check_saves_nothing(run: RunDirectory) -> None:
    saves = fit(run, RunCheckpoints(every_n_steps=0), [0.5], num_sanity_val_steps=1)
    assert saves.steps("best") == [4]


def test_a_metric_that_is_not_measured_is_one_line(run: RunDirectory) -> None:
    with pytest.raises(UserError, match=r"val/kappa.*use val/acc, val/f1 or val/auroc"):
        fit(run, RunCheckpoints(monitor="val/kappa"), [0.5])
    # Before the first step, and so before the first checkpoint.
    assert not run.last.exists()


class Clock(Saves):
    """A clock on which a step takes a second and a writing as long as asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, write_s: float) -> None:
        super().__init__()
        self.now, self.write_s = 0.0, write_s
        monkeypatch.setattr(checkpoint_io, "monotonic", lambda: self.now)

    def tick(self, *args: Any) -> None:
        self.now += 1

    def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
        self.now += self.write_s
        super()._put(checkpoint, path)


@pytest.mark.parametrize(
    ("write_s", "share", "expected"),
    [
        # Two seconds of writing in ten: eight of training between, and the next multiple of three after that.
        (2.0, 0.2, [3, 12, 21, 30, 36, 45, 54, 63, 72]),
        (0.01, 0.05, [*range(3, 73, 3)]),
        (100.0, 0.05, [3, 36, 72]),
        (100.0, 1.0, [*range(3, 73, 3)]),
    ],
)
def test_writing_between_validations_takes_its_share_of_the_time_at_most(
    write_s: float, share: float, expected: list[int], run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, write_s)
    checkpoints = RunCheckpoints(every_n_steps=3, max_time_share=share)
    checkpoints.write_to(run)
    watched = trainer(
        run.path, checkpoints, LambdaCallback(on_train_batch_start=clock.tick), plugins=[clock], max_epochs=2
    )
    watched.fit(ScriptedModule(losses=(1.0,) * 72, scores=[0.5, 0.4]), datamodule=ScriptedData(train=36))
    assert clock.steps("last") == expected


def test_a_setting_that_means_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="every_n_steps"):
        RunCheckpoints(every_n_steps=-1)
    for share in (0.0, -0.1, 1.1):
        with pytest.raises(UserError, match="max_time_share"):
            RunCheckpoints(max_time_share=share)


def test_before_any_checkpoint_there_is_no_size(run: RunDirectory) -> None:
    assert checkpoint_bytes(run) is None
