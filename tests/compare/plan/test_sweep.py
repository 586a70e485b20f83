import json
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.plan.sweep import FILE, Sweep, parts_of, plan_sweep, read_parts, read_sweep, read_words
from peft_lightning.errors import UserError
from tests.compare.plan.test_plan import OFFLINE, STUDY, resolved

SECTIONS = ("model", "data", "trainer")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.n_train"], "--sweep data.n_train: name two values or more"),
        (["data.n_train", "100"], "name two values or more, as in --sweep data.n_train 100 300 1000"),
        (["n_train", "100", "300"], "--sweep n_train is no setting: name it in full, as in --sweep data.n_train"),
        (["dta.n_train", "100", "300"], "--sweep dta.n_train is no setting: did you mean data.n_train?"),
        (["seed_everything", "1", "2"], "--sweep seed_everything: say --seeds"),
        (["model.method", "LoRA", "IA3"], "it would give all recipes the same method"),
        (["data.n_train", "100", "300", "1e2"], "--sweep data.n_train names 1e2 twice"),
        (["model.gradient_checkpointing", "true", "yes"], "names yes twice"),
    ],
)
def test_what_is_no_sweep_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        read_words(words, SECTIONS)
    assert message in str(refused.value)


def test_a_setting_is_swept_or_given_to_all_runs_and_not_both() -> None:
    sweep = Sweep("data.n_train", ("100", "300"))
    with pytest.raises(UserError, match=r"several values of data\.n_train: leave --data\.n_train out"):
        plan_sweep(sweep, STUDY[:2], [1], [OFFLINE], ["--data.n_train", "50"])


def test_each_value_is_a_comparison_whose_runs_have_it(tmp_path: Path) -> None:
    sweep = Sweep("data.n_train", ("100", "300"))
    plans = plan_sweep(sweep, STUDY[:2], [1, 2], [OFFLINE], ["--data.n_test", "50"], "lora")
    for part, value in zip(parts_of(sweep, plans, tmp_path), (100, 300), strict=True):
        assert part.folder == tmp_path / f"n_train_{value}"
        assert part.variant("lora") == f"lora n_train {value}"
        assert part.plan.baseline == "lora"
        (*_, run) = part.plan.runs(part.folder)
        config = resolved(run.settings)
        assert (config["data"]["n_train"], config["data"]["n_test"]) == (value, 50)
        assert run.folder.is_relative_to(part.folder / "runs")
        # Whoever begins the value alone gets the same run.
        part.plan.write(part.folder)
        assert read_plan(part.folder).runs(part.folder) == part.plan.runs(part.folder)
    sweep.write(tmp_path)
    assert read_sweep(tmp_path) == sweep
    assert read_parts(tmp_path) == parts_of(sweep, plans, tmp_path)
    (whole,) = read_parts(tmp_path / "n_train_100")
    assert whole == replace(parts_of(sweep, plans, tmp_path)[0], value=None)


def test_values_are_folders_whatever_is_in_them() -> None:
    hub = Sweep("model.model_name_or_path", ("a/b", "a b", "A-B", "/"))
    assert hub.folders == (
        *("model_name_or_path_a-b", "model_name_or_path_a-b-2", "model_name_or_path_A-B-3"),
        "model_name_or_path_value",
    )
    assert hub.numbers is None
    assert Sweep("model.learning_rate", ("1e-4", "1e-3")).numbers == (1e-4, 1e-3)


def test_a_damaged_sweep_is_said(tmp_path: Path) -> None:
    assert read_sweep(tmp_path) is None
    sweep = Sweep("data.n_train", ("100", "300"))
    sweep.write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    for changed, message in (({"schema": 9}, "is of version 9"), ({"values": 3}, "is damaged")):
        (tmp_path / FILE).write_text(json.dumps(content | changed))
        with pytest.raises(UserError, match=rf"sweep\.json {message}"):
            read_sweep(tmp_path)
