from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning.compare.plan.overrides import as_flags, override, read_overrides, values_of
from peft_lightning.errors import UserError
from peft_lightning.recipes import find_config, merge, read_config
from tests.compare.plan.test_plan import OFFLINE, printed_config, resolved

WATCHED = {
    "trainer": {
        "callbacks": [
            {"class_path": "LearningRateMonitor"},
            {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss"}},
        ],
        "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "logs"}},
    }
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        # What a text means is the setting's type's to say.
        ["--data.n_train", "400", "--model.learning_rate=1e-3", "--trainer.devices", "1", "--trainer.precision", "32"],
        ["--data.source", "2024", "--data.text_column", "007", "--data.label_column", "true", "--data.cache_dir=null"],
        ["--data.source", "a: b", "--data.text_column", "'quoted'", "--data.n_val", "null", "--data.label_column", "~"],
        [
            *(
                "--trainer.limit_train_batches",
                "0.5",
                "--trainer.limit_val_batches",
                "5",
                "--trainer.benchmark",
                "true",
            ),
            *("--trainer.max_time", "1:00:00:00", "--engine", "eager", "--memory_limit_gib", "2"),
            *("--trainer.max_epochs", "2", "--trainer.max_epochs", "3", "--data.text_column", "[x]"),
        ],
        # A class and its arguments.
        [
            "--model.method.r",
            "4",
            "--model.method.init_args.lora_alpha",
            "8",
            "--model.method.target_modules",
            "[query]",
        ],
        [
            "--model.method.init_args",
            '{"r": 4}',
            "--trainer.profiler",
            "SimpleProfiler",
            "--trainer.profiler.filename=x",
        ],
        ["--trainer.callbacks", "EarlyStopping"],
        ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"],
        ["--trainer.callbacks", "[{class_path: EarlyStopping}]", "--trainer.callbacks.monitor", "val/loss"],
        # Appending.
        ["--trainer.callbacks+={class_path: LearningRateMonitor}"],
        ["--trainer.callbacks+", "LearningRateMonitor", "--trainer.callbacks.logging_interval", "step"],
        ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks+=LearningRateMonitor"],
        ["--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks", "EarlyStopping"],
        ["--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks+=[{class_path: EarlyStopping}]"],
        ["--trainer.callbacks.monitor=val/acc", "--trainer.callbacks+=Timer", "--trainer.callbacks.interval=epoch"],
        # What stands in the place of a class.
        ["--trainer.logger", "false", "--trainer.callbacks", "null"],
        ["--trainer.logger", "CSVLogger", "--trainer.logger.name", "x"],
        ["--trainer.logger", "{class_path: CSVLogger}"],
    ],
)
def test_overrides_give_a_run_the_settings_that_fit_makes_of_the_same_flags(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "watched.yaml").write_text(yaml.safe_dump(WATCHED))
    files = ["configs/qlora.yaml", OFFLINE, *([str(tmp_path / "watched.yaml")] if _needs_watched(words) else [])]
    flags = [word for file in files for word in ("--config", file)]
    recipe: dict[str, Any] = {}
    for file in files:
        recipe = merge(recipe, read_config(find_config(file)))
    before = yaml.safe_dump(recipe)
    overrides = read_overrides(words)
    assert resolved(override(recipe, overrides)) == printed_config("fit", *flags, *words)
    assert yaml.safe_dump(recipe) == before, "the recipe stays as it is"


def _needs_watched(words: list[str]) -> bool:
    return any("logger" in word or word.startswith("--trainer.callbacks.monitor=") for word in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["n_train", "400"], "'n_train' is no override"),
        (["--data.n_train", "--data.n_val", "8"], "--data.n_train has no value"),
        (["--recipe", "mine"], "--recipe cannot be overridden"),
    ],
)
def test_what_is_no_setting_is_refused_before_anything_is_planned(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_overrides(words)


def test_another_class_starts_without_the_arguments_of_the_one_before() -> None:
    for written in ("TensorBoardLogger", "{class_path: TensorBoardLogger}"):
        laid = override(WATCHED, read_overrides(["--trainer.logger", written]))
        assert laid["trainer"]["logger"] == {"class_path": "TensorBoardLogger"}


def test_what_is_appended_begins_a_list_where_a_recipe_has_none() -> None:
    appended = read_overrides(["--trainer.callbacks+=Timer", "--trainer.callbacks.interval=epoch"])
    timer = {"class_path": "Timer", "init_args": {"interval": "epoch"}}
    for recipe in ({}, {"trainer": {"max_epochs": 1}}, {"trainer": {"callbacks": None}}):
        assert override(recipe, appended)["trainer"]["callbacks"] == [timer]


def test_values_to_reckon_with_are_what_yaml_makes_of_the_texts() -> None:
    words = ["--trainer.max_epochs", "3", "--trainer.limit_val_batches=0.5", "--data.source", "a: [b"]
    assert values_of(override({"data": {"seed": 42}}, read_overrides(words))) == {
        "trainer": {"max_epochs": 3, "limit_val_batches": 0.5},
        "data": {"seed": 42, "source": "a: [b"},
    }


def test_a_reader_sees_overrides_as_flags() -> None:
    words = ["--data.n_train=400", "--trainer.callbacks+=A", "--trainer.callbacks.x", "1", "--trainer.callbacks+=B"]
    assert list(as_flags(read_overrides([*words, "--engine", "eager"]))) == [
        ("--data.n_train", "400"),
        ("--trainer.callbacks+", '{"class_path": "A", "init_args": {"x": "1"}}'),
        ("--trainer.callbacks+", "B"),
        ("--engine", "eager"),
    ]
