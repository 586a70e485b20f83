"""What the words of a command line name: files, and the class of a method."""

import pytest

from peft_lightning.errors import UserError
from peft_lightning.recipes import class_flags, split_arguments
from tests.test_recipes import parsed


def test_flags_beat_files_wherever_they_stand() -> None:
    config = parsed("--data.n_train", "7", "--config", "configs/lora.yaml", "--config=configs/offline.yaml")
    assert config["data"]["n_train"] == 7


def test_config_options_are_taken_out() -> None:
    assert split_arguments(["--config", "a", "--x=1", "-c", "b", "--config=c"]) == (["a", "b", "c"], ["--x=1"])
    with pytest.raises(UserError, match="names no file"):
        split_arguments(["--config"])


@pytest.mark.parametrize(
    "words", [["--model.method=IA3"], ["--model.method", "IA3"], ["--model.method.class_path=IA3"]]
)
def test_class_flags_are_found(words: list[str]) -> None:
    assert class_flags(words) == {"model": {"method": {"class_path": "IA3"}}}
    assert class_flags(["--model.method.r=3"]) == {}
