from __future__ import annotations

from pathlib import Path

import pytest

from peft_lightning.__main__ import main
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
