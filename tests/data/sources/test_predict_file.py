from pathlib import Path

import pytest

from peft_lightning.data.sources.predict_file import read_predict_file
from peft_lightning.errors import UserError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "predict needs texts: name their file with predict_file='texts.txt'"),
        ("/nowhere/a.txt", "predict_file /nowhere/a.txt does not exist: check the path"),
        ("~no-such-user/a.txt", "predict_file ~no-such-user/a.txt does not exist: check the path"),
        (".", "predict_file . is no plain file: name a text file or a table"),
    ],
)
def test_what_is_no_file_is_named_with_the_setting(name: str | None, message: str) -> None:
    with pytest.raises(UserError) as refused:
        read_predict_file(name, "text")
    assert str(refused.value) == message


def test_a_file_below_one_s_home_may_be_named_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "texts.txt").write_text("good\nbad\n")
    assert read_predict_file("~/texts.txt", "text") == ["good", "bad"]
