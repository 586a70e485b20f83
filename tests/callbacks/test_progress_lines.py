import re
from pathlib import Path

import pytest
import torch

from peft_lightning.callbacks import progress_lines
from peft_lightning.callbacks.progress_lines import ProgressLines
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines, without the times in them."""
    return [re.sub(r"about [\d.]+ s", "about T", line) for line in capsys.readouterr().out.splitlines()]


def test_lines_tell_step_loss_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_lines, "INTERVAL_S", 0.0)
    module = ScriptedModule((4.0, 3.0, 2.0, 1.0), scores=(0.5, 0.75))
    watched = trainer(tmp_path, ProgressLines(), max_epochs=2, enable_progress_bar=True)
    watched.fit(module, datamodule=ScriptedData(train=2, val=1))
    assert said(capsys) == [
        "training: 4 steps",
        "step 1 of 4: loss 4.000; about T left",
        "step 2 of 4: loss 3.000; about T left",
        "validation: batch 1 of 1",
        "step 2 of 4: validation loss 0.500, accuracy 50.0 %; about T left",
        "step 3 of 4: loss 2.000; about T left",
        "step 4 of 4: loss 1.000",
        "validation: batch 1 of 1",
        "step 4 of 4: validation loss 0.250, accuracy 75.0 %",
    ]


def test_a_step_that_takes_no_time_has_no_line_and_no_loss_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []
    to_float = torch.Tensor.__float__

    def counted(tensor: torch.Tensor) -> float:
        read.append(0.0)
        return to_float(tensor)

    monkeypatch.setattr(torch.Tensor, "__float__", counted)
    watched = trainer(tmp_path, ProgressLines(), enable_progress_bar=True, limit_val_batches=0)
    watched.fit(ScriptedModule(), datamodule=ScriptedData(train=20))
    assert said(capsys) == ["training: 20 steps"]
    assert read == []


def test_the_loss_of_a_line_is_the_mean_of_undivided_losses_since_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    due = iter([False, False, False, True])
    monkeypatch.setattr(ProgressLines, "_is_due", lambda _: next(due))
    watched = trainer(
        tmp_path, ProgressLines(), enable_progress_bar=True, limit_val_batches=0, accumulate_grad_batches=2
    )
    watched.fit(ScriptedModule((4.0, 3.0, 2.0, 1.0)), datamodule=ScriptedData(train=4))
    assert said(capsys) == ["training: 2 steps", "step 2 of 2: loss 2.500"]
