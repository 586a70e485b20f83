import doctest
from pathlib import Path

import pytest

import peft_lightning.errors
from peft_lightning.__main__ import main
from peft_lightning.errors import Placeholder, Setting, UserError


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(peft_lightning.errors).failed == 0


def test_a_setting_is_an_argument_to_python_and_a_flag_to_the_command_line() -> None:
    error = UserError("no such model: use ", Setting("model.model_name_or_path"), " or ", Setting("data.seed", 3))
    assert str(error) == "no such model: use model_name_or_path or seed=3"
    assert error.worded(Setting.as_flag) == "no such model: use --model.model_name_or_path or --data.seed 3"


def test_an_overlay_is_recommended_on_the_command_line_alone() -> None:
    setting = Setting("model.model_name_or_path", "embedded", overlay="configs/offline.yaml")
    assert str(setting) == "model_name_or_path='embedded'"
    assert setting.as_flag() == "--config configs/offline.yaml"


@pytest.mark.parametrize(
    ("value", "argument", "flag"),
    [
        (None, "x=None", "--a.x null"),
        (True, "x=True", "--a.x true"),
        (1.0, "x=1.0", "--a.x 1.0"),
        ("32-true", "x='32-true'", "--a.x 32-true"),
        (Path("my runs/best.ckpt"), "x='my runs/best.ckpt'", "--a.x 'my runs/best.ckpt'"),
        (Placeholder("DIR"), "x=DIR", "--a.x DIR"),
        (Placeholder("[...]"), "x=[...]", "--a.x '[...]'"),
    ],
)
def test_a_value_can_be_copied_into_python_and_into_a_shell(value: object, argument: str, flag: str) -> None:
    setting = Setting("a.x", value)
    assert (str(setting), setting.as_flag()) == (argument, flag)


def test_a_wrapped_error_keeps_its_settings() -> None:
    inner = UserError("too long: ", Setting("data.max_length", 8))
    assert UserError("lora: ", *inner.args).worded(Setting.as_flag) == "lora: too long: --data.max_length 8"


def test_the_command_line_shows_flags(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(words: list[str]) -> None:
        raise UserError("too long: ", Setting("data.max_length", 8))

    monkeypatch.setattr("peft_lightning.commands.registry.load", lambda word: refuse)
    with pytest.raises(SystemExit) as ended:
        main(["fit"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "peft_lightning: error: too long: --data.max_length 8\n"
