from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.continuation import changed_settings, refusal_to_go_on, settings_of, unlike_the_newest
from peft_lightning.runs.record import RunRecord

CONFIG: dict[str, Any] = {
    "seed_everything": 42,
    "engine": "auto",
    "model": {
        "method": {"class_path": "peft_lightning.methods.LoRA", "init_args": {"r": 8, "target_modules": ["query"]}},
        "model_name_or_path": "embedded",
        "learning_rate": 1e-3,
        "schedule": "linear",
    },
    "data": {"source": "a.csv", "n_train": None, "batch_size": 8, "num_workers": 0, "eval_batch_size": 32},
    "trainer": {"max_epochs": 1, "precision": "32-true", "logger": None, "gradient_clip_val": None},
    "checkpoint": {"every_n_steps": 200},
}


def with_(**changes: Any) -> dict[str, Any]:
    """The configuration with other values, by section and name: ``data__source="b.csv"``."""
    config: dict[str, Any] = yaml.safe_load(yaml.safe_dump(CONFIG))
    for name, value in changes.items():
        *sections, last = name.split("__")
        node = config
        for section in sections:
            node = node[section]
        node[last] = value
    return config


def changed(same_texts: bool = True, **changes: Any) -> dict[str, tuple[Any, Any]]:
    return changed_settings(settings_of(CONFIG), settings_of(with_(**changes)), same_texts)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("model__learning_rate", 1e-2, {"model.learning_rate": (1e-3, 1e-2)}),
        ("model__schedule", "constant", {"model.schedule": ("linear", "constant")}),
        ("trainer__precision", "bf16-mixed", {"trainer.precision": ("32-true", "bf16-mixed")}),
        ("trainer__gradient_clip_val", 1.0, {"trainer.gradient_clip_val": (None, 1.0)}),
        ("data__batch_size", 4, {"data.batch_size": (8, 4)}),
        ("seed_everything", 1, {"seed_everything": (42, 1)}),
        ("model__method__init_args", {"r": 4, "target_modules": ["query"]}, {"model.method.r": (8, 4)}),
        ("model__method__class_path", "peft_lightning.methods.IA3", {"model.method": ("LoRA", "IA3")}),
    ],
)
def test_a_setting_that_a_restored_state_overrides_is_found(
    name: str, value: Any, found: dict[str, tuple[Any, Any]]
) -> None:
    assert changed(**{name: value}) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data__num_workers", 2),
        ("data__eval_batch_size", 8),
        ("trainer__max_epochs", 3),
        ("trainer__logger", {"class_path": "CSVLogger"}),
        ("model__model_name_or_path", "/the/same/elsewhere"),
        ("engine", "eager"),
        ("checkpoint", {"every_n_steps": 10}),
        # The same precision, and no clipping, in other words.
        ("trainer__precision", 32),
        ("trainer__gradient_clip_val", 0.0),
    ],
)
def test_what_changes_no_step_is_free(name: str, value: Any) -> None:
    assert changed(**{name: value}) == {}


def test_where_the_same_texts_come_from_is_free_and_which_others_they_are_is_named() -> None:
    assert changed(data__source="b.csv", data__n_train=64) == {}
    assert changed(same_texts=False, data__source="b.csv") == {"data.source": ("a.csv", "b.csv")}


def test_a_setting_of_a_newer_version_is_not_compared() -> None:
    assert changed_settings({"data.batch_size": 8}, {"data.batch_size": 8, "data.mixing": True}, True) == {}


def test_one_line_names_each_setting_with_both_values_and_the_mend() -> None:
    found = changed(model__learning_rate=1e-2, model__schedule="constant", data__batch_size=4)
    error = refusal_to_go_on("last.ckpt", found, True)
    assert error is not None
    assert error.worded(Setting.as_flag) == (
        "last.ckpt was trained with --model.learning_rate 0.001 (here 0.01), --model.schedule linear (here constant)"
        " and --data.batch_size 8 (here 4): go on with those, or leave --ckpt_path out to train anew"
    )
    assert refusal_to_go_on("last.ckpt", {}, True) is None


def test_files_that_changed_under_the_same_name_are_refused_too() -> None:
    error = refusal_to_go_on("last.ckpt", {}, False)
    assert error is not None
    assert str(error) == (
        "last.ckpt was trained with other texts or labels: go on with that, or leave ckpt_path out to train anew"
    )


def test_the_newest_unfinished_run_of_other_settings_is_named(tmp_path: Path) -> None:
    assert unlike_the_newest(tmp_path, CONFIG) == ()
    run = tmp_path / "version_3"
    run.mkdir()
    RunRecord("1", "lora", "0", "lora", 42, 42).write(run / "results.json")
    (run / "config.yaml").write_text(yaml.safe_dump(with_(trainer__max_epochs=2)))
    ending = UserError(*unlike_the_newest(tmp_path, CONFIG)).worded(Setting.as_flag)
    assert ending == f"; {run}, the newest one, has --trainer.max_epochs 2 (here 1)"
