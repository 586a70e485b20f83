from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.callbacks.finite_loss import FiniteLoss
from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.errors import UserError
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.record import RunRecord
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_a_broken_loss_stops_the_run_at_the_next_point(broken: float, tmp_path: Path) -> None:
    module = ScriptedModule(losses=[1, 1, 1, broken, 1, 1, 1, 1])
    with pytest.raises(
        UserError, match=r"loss became infinite or NaN between steps 2 and 4: lower learning_rate or clip with"
    ) as stop:
        trainer(tmp_path, FiniteLoss(), log_every_n_steps=2).fit(module, datamodule=ScriptedData(train=8))
    assert module.batches == 4
    # By what it says a comparison knows that the rate has had its chance.
    assert RunRecord(*("id", "lora", "sha", "lora", 1, 42), status="failed", error=str(stop.value)).diverged


def test_a_loss_between_points_is_seen_before_anything_is_saved(tmp_path: Path, run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=2, max_time_share=1)
    checkpoints.write_to(run)
    module = ScriptedModule(losses=[1, 1, 1, NAN, 1, 1, 1, 1], scores=[0.5])
    with pytest.raises(UserError, match="NaN"):
        trainer(tmp_path, FiniteLoss(), checkpoints, log_every_n_steps=100).fit(
            module, datamodule=ScriptedData(train=8)
        )
    kept = torch.load(run.last, weights_only=True)
    assert kept["global_step"] == 2
    assert not run.best.exists()


@pytest.mark.parametrize(
    ("settings", "mends"),
    [
        ({}, "lower learning_rate or clip with gradient_clip_val=1.0"),
        ({"gradient_clip_val": 1.0}, "lower learning_rate"),
        ({"gradient_clip_val": 1.0, "precision": "bf16-mixed"}, "lower learning_rate or use precision='32-true'"),
        (
            {"precision": "bf16-mixed"},
            "lower learning_rate, clip with gradient_clip_val=1.0 or use precision='32-true'",
        ),
    ],
)
def test_only_what_the_run_has_not_is_a_mend_and_only_what_is_there_is_kept(
    settings: dict[str, Any], mends: str, tmp_path: Path, run: RunDirectory
) -> None:
    checkpoints = RunCheckpoints(every_n_steps=2, max_time_share=1)
    checkpoints.write_to(run)
    for good, kept in ((0, ""), (3, "; the last good checkpoint is kept")):
        module = ScriptedModule(losses=[1] * good + [NAN] * (8 - good), scores=[0.5])
        with pytest.raises(UserError) as stop:
            trainer(tmp_path, FiniteLoss(), checkpoints, log_every_n_steps=2, **settings).fit(
                module, datamodule=ScriptedData(train=8)
            )
        assert str(stop.value).partition(": ")[2] == mends + kept


class Breaking(ScriptedModule):
    """Its third gradient is no number; the losses all are."""

    def on_after_backward(self) -> None:
        if self.global_step == 2 and self.weight.grad is not None:
            self.weight.grad.fill_(NAN)


def test_weights_that_broke_are_neither_saved_nor_judged(tmp_path: Path, run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=1, max_time_share=1)
    checkpoints.write_to(run)
    module = Breaking(scores=[0.5])
    with pytest.raises(UserError, match=r"a weight became infinite or NaN"):
        trainer(tmp_path, FiniteLoss(), checkpoints, log_every_n_steps=100).fit(
            module, datamodule=ScriptedData(train=8)
        )
    kept = torch.load(run.last, weights_only=True)
    assert kept["global_step"] == 2
    assert bool(torch.isfinite(kept["state_dict"]["weight"]).all())


def test_numbers_pass(tmp_path: Path) -> None:
    trainer(tmp_path, FiniteLoss()).fit(ScriptedModule(losses=[1e30, -1e30, 0, 1]), datamodule=ScriptedData())
