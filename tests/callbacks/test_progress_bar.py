import io
import sys
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import TQDMProgressBar
from rich.console import Console

from peft_lightning.__main__ import main
from peft_lightning.callbacks import progress_bar
from peft_lightning.callbacks.progress_bar import EpochBar, progress_shown
from peft_lightning.callbacks.progress_lines import ProgressLines
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.integration.offline_run import only_run


class Terminal(io.StringIO):
    """A file that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_bar_counts_epochs_from_1_to_the_last(tmp_path: Path) -> None:
    told: list[str] = []

    class Watched(EpochBar):
        def on_train_epoch_start(self, *args: object) -> None:
            super().on_train_epoch_start(*args)  # type: ignore[arg-type]
            told.append(str(self.train_progress_bar.description).strip())

    bar = Watched(console_kwargs={"file": io.StringIO()})
    trainer(tmp_path, bar, max_epochs=2, enable_progress_bar=True).fit(ScriptedModule(), datamodule=ScriptedData())
    assert told == ["Epoch 1/2", "Epoch 2/2"]


@pytest.mark.parametrize(("out", "shown"), [(Terminal(), EpochBar), (io.StringIO(), ProgressLines)])
def test_a_terminal_gets_a_bar_and_a_log_gets_lines(
    out: io.StringIO, shown: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(progress_bar, "Console", lambda: Console(file=out, _environ={"TERM": "xterm"}))
    (one,) = progress_shown([])
    assert type(one) is shown


def test_a_bar_of_the_user_s_own_is_the_only_one() -> None:
    assert progress_shown([TQDMProgressBar()]) == []


@pytest.mark.slow
def test_a_fit_into_a_log_says_how_far_it_is_unless_that_was_turned_off(
    tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_fit, "--trainer.enable_progress_bar", "true"])
    lines = capsys.readouterr().out.splitlines()
    assert "training: 4 steps" in lines
    assert any(line.startswith("step 4 of 4: validation loss ") for line in lines)
    only_run(Path())
    main(tiny_fit)
    assert "training: 4 steps" not in capsys.readouterr().out
