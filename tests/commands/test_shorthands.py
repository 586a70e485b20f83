from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.cli import LightningCLI

from peft_lightning.__main__ import main
from peft_lightning.commands.command_settings import Settings
from peft_lightning.commands.lightning_cli import PeftLightningCLI
from peft_lightning.commands.shorthands import RUN_SETTINGS, expand
from peft_lightning.errors import UserError


class Stop(BaseException):
    """Ends the program where the Trainer would be built."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a command would run with."""
    found: list[Settings] = []

    def instantiate(self: PeftLightningCLI, **given: Any) -> None:
        found.append(self.command.settings)
        raise Stop

    monkeypatch.setattr(LightningCLI, "instantiate_trainer", instantiate)
    with pytest.raises(Stop):
        main(words)
    (settings,) = found
    return settings


@pytest.mark.parametrize("word", ["fit", "validate", "test", "predict"])
def test_a_run_by_short_words_is_the_run_by_long_ones(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["--config", "configs/offline.yaml", "--trainer.accelerator=cpu"]
    short = [*common, "--n_train", "100", "--method", "lora", "--n_test=50", "--flash_attn"]
    attention = ["--model.attn_implementation", "flash_attention_2"]
    long = ["--config", "configs/lora.yaml", *common, "--data.n_train", "100", "--data.n_test=50", *attention]
    by_short, by_long = settings([word, *short], monkeypatch), settings([word, *long], monkeypatch)
    assert by_short == by_long
    assert by_short.sha256 == by_long.sha256
    assert by_short.recipe == "lora"
    assert by_short.config["data"]["n_train"] == 100


def test_a_later_word_wins_however_long() -> None:
    assert expand(["--n_train=1", "--data.n_train", "2"]) == ["--data.n_train", "1", "--data.n_train", "2"]


def test_an_overlay_may_change_the_method_that_is_named() -> None:
    Path("mine.yaml").write_text("model: {method: {init_args: {r: 4}}}\n")
    words = ["--config", "configs/lora.yaml", "--config", "mine.yaml"]
    assert expand(["--config", "mine.yaml", "--method", "lora"]) == words


def test_a_peft_type_s_recipe_has_a_short_word() -> None:
    assert expand(["--method", "vera", "--n_train=3"]) == ["--config", "configs/peft/vera.yaml", "--data.n_train", "3"]


def test_a_recipe_of_the_user_s_own_has_a_name_too() -> None:
    Path("configs/deep").mkdir(parents=True)
    Path("configs/deep/mine.yaml").write_text("model: {method: LoRA}\n")
    assert expand(["--method=deep/mine"]) == ["--config", "configs/deep/mine.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--method", "lorra"],
            r"^no recipe is called lorra: did you mean lora\? there are .*full, head, ia3, ia3_lora, lora, mine, qlora",
        ),
        (["--method", "offline"], "^no recipe is called offline:"),
        (["--method", "broken"], "^no recipe is called broken: .*there are .*mine"),
        (["--method", "lora", "--method", "ia3"], "^--method lora and --method ia3: .* name one$"),
        (
            ["--method", "lora", "--config", "configs/ia3.yaml"],
            r"^--method lora and --config configs/ia3\.yaml both name a method: leave one of them out$",
        ),
        (["--config=configs/mine.yaml", "--method", "lora"], r"--config configs/mine\.yaml both name a method"),
        (["--method", "lora", "--config", "configs/nowhere.yaml"], "no such file"),
        (["--method"], "^--method: say --method NAME$"),
        (["--method="], "^--method=: say --method NAME$"),
        (["--n_test", "--n_train", "3"], "^--n_test: say --n_test N$"),
        (["--flash_attn=yes"], "^--flash_attn=yes: say --flash_attn and no value$"),
    ],
)
def test_a_mistake_names_the_short_word(words: list[str], message: str) -> None:
    Path("configs").mkdir()
    Path("configs/mine.yaml").write_text("model: {method: LoRA}\n")
    Path("configs/broken.yaml").write_text("model: [")
    with pytest.raises(UserError, match=message) as refused:
        expand(words)
    assert "offline," not in str(refused.value)


def test_a_command_without_methods_leaves_the_word_alone() -> None:
    assert expand(["--method", "lora", "--n_train=3"], RUN_SETTINGS) == ["--method", "lora", "--data.n_train", "3"]


def test_a_misspelt_short_word_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, right in (("--metod", "--method"), ("--n_trian", "--n_train")):
        with pytest.raises(SystemExit):
            main(["fit", "--method", "lora", wrong, "3"])
        assert f"there is no {wrong}: did you mean {right}?" in capsys.readouterr().err


def test_help_shows_what_short_words_stand_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for words in (["--help"], ["fit", "--help"]):
        with suppress(SystemExit):
            main(words)
        shown = " ".join(capsys.readouterr().out.split())
        assert "--method NAME --config configs/NAME.yaml --n_train N --data.n_train N" in shown
        assert "--flash_attn --model.attn_implementation flash_attention_2" in shown
        assert "--flash_attn --model.attn_implementation flash_attention_2 (default" not in shown
