from __future__ import annotations

from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from peft_lightning.commands.export import in_words
from tests.export.conftest import Trained
from tests.export.conftest import trained as trained


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--to", "out"], "nowhere holds no run"),
        (["nowhere"], "the following arguments are required: --to"),
        (["nowhere", "--to", "out", "--format", "gguf"], "invalid choice: 'gguf'"),
        (["nowhere", "--to", "out", "--max_flips", "-1"], "-1 is no whole number of at least 0"),
        (["nowhere", "--to", "out", "--examples", "0"], "0 is no whole number of at least 1"),
        (["nowhere", "--to", "out", "--public"], "name its repository with --push owner/name"),
        (["nowhere", "--to", "out", "--quantize", "int8"], "--format merged"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_a_method_without_an_adapter_leaves_nothing(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("--config", "configs/head.yaml", "--config", "configs/offline.yaml")
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit):
        main(["export", str(run), "--to", "out"])
    assert "head trains the model's own weights and has no adapter: use --format merged" in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], reviews: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["export", "nowhere", "--to", str(reviews)])
    assert "is not empty, and an export replaces nothing: name another folder with --to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metric", "before", "after", "words"),
    [
        ("acc", 0.5625, 0.5, "accuracy 56.2 % -> 50.0 %"),
        ("mae", 0.00123, None, "mean absolute error 0.00123 -> –"),
    ],
)
def test_figures_are_written_as_everywhere_else(metric: str, before: float, after: float | None, words: str) -> None:
    report = {"examples": 2000, "flips": 1, "near_ties": 0, "greatest_change": 1.2e-7, "bytes": 2**20, "notes": ["so"]}
    measured = {"latency_ms": 48.2, "texts_per_s": 58.0, "device": "cpu"}
    shown = in_words({**report, **measured, "metric": metric, "before": before, "after": after}, Path("mine"))
    assert f"greatest change 1.2e-07, {words}; 1.0 MiB, one text 48.2 ms" in shown
    assert shown.endswith("\nnote: so")
