from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import Plan, read_plan
from peft_lightning.errors import Setting, UserError
from tests.compare.plan.test_plan import OFFLINE, STUDY, recipe


def test_recipes_with_one_stem_get_names_of_their_own(tmp_path: Path) -> None:
    names = ["configs/lora.yaml", "configs/study/lora.yaml", "configs/full.yaml"]
    assert [planned.label for planned in build_plan(names, [1]).recipes] == ["configs-lora", "study-lora", "full"]
    alike = [recipe(tmp_path / "a" / "b-c.yaml"), recipe(tmp_path / "a-b" / "c.yaml"), recipe(tmp_path / "d" / "c.yml")]
    plan = build_plan([*alike, recipe(tmp_path / "d" / "c.yaml")], [1])
    assert len({run.folder for run in plan.runs(tmp_path)}) == 4


@pytest.mark.parametrize("named", ["lora", STUDY[1]])
def test_a_baseline_is_named_by_its_label_or_its_path_and_kept_in_the_plan(named: str, tmp_path: Path) -> None:
    build_plan(STUDY[:2], [1], baseline=named).write(tmp_path)
    assert read_plan(tmp_path).baseline == "lora"


@pytest.mark.parametrize("key", ["mcc", "f1.positive", "pearson", "lrap"])
def test_a_metric_of_any_task_or_label_is_kept_in_the_plan(key: str, tmp_path: Path) -> None:
    build_plan(STUDY[:2], [1], metric=key).write(tmp_path)
    assert read_plan(tmp_path).metric == key


@pytest.mark.parametrize(
    ("recipes", "seeds", "overlays", "overrides", "message"),
    [
        ([], [1], [], [], "no recipe to compare: name some"),
        (["configs/nowhere.yaml"], [1], [], [], "no such file"),
        ([STUDY[1], "./configs/../configs/study/lora.yaml"], [1], [], [], "is named twice.*--seeds"),
        (STUDY, [], [], [], "no seed: name some"),
        (STUDY, [1, 2, 1], [], [], "--seeds names 1 twice"),
        (STUDY, [-1], [], [], "whole number from 0"),
        ([*STUDY, OFFLINE], [1], [], [], "names no method.*--config configs/offline.yaml"),
        (STUDY[:2], [1], [STUDY[3]], [], "--config configs/study/ia3.yaml names a method"),
        (STUDY, [1], [], ["n_train", "400"], "'n_train' is no override"),
        (STUDY, [1], [], ["--seed_everything", "3"], "--seed_everything cannot be overridden.*--seeds"),
        (STUDY, [1], [], ["--trainer.default_root_dir=x"], "--name"),
        (STUDY, [1], [], ["--model.method=LoRA"], "the same method"),
    ],
)
def test_what_makes_no_comparison_is_one_line_with_the_mend(
    recipes: list[str],
    seeds: list[int],
    overlays: list[str],
    overrides: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    with pytest.raises(UserError, match=message) as refused:
        build_plan(recipes, seeds, overlays, overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("source", "imdb"), ("n_train", 8), ("n_test", 8), ("n_val", 8), ("seed", 1), ("text_column", "t")),
        *(("configuration", "sst2"), ("train_split", "a"), ("val_split", "train"), ("test_split", "dev")),
        *(("quoting", "none"), ("deduplicate", True)),
    ],
)
def test_recipes_that_draw_different_reviews_are_refused_until_an_override_makes_them_alike(
    key: str, value: Any, tmp_path: Path
) -> None:
    names = [recipe(tmp_path / "a.yaml"), recipe(tmp_path / "b.yaml"), recipe(tmp_path / "c.yaml", **{key: value})]
    with pytest.raises(UserError, match=rf"a\.yaml and .*c\.yaml draw different reviews.*--data\.{key} ") as refused:
        build_plan(names, [1])
    mend = str(refused.value).rsplit("such as ", 1)[1].split()
    assert len(build_plan(names, [1], overrides=mend).runs(tmp_path)) == 3


def test_a_default_that_is_spelled_out_is_no_difference(tmp_path: Path) -> None:
    names = [recipe(tmp_path / "a.yaml"), recipe(tmp_path / "b.yaml", seed=42, n_val=None, text_column="text")]
    assert isinstance(build_plan(names, [1]), Plan)


def test_a_plan_states_what_a_name_of_glue_stands_for() -> None:
    plan = build_plan(STUDY[:2], [1], [OFFLINE], ["--data.source", "glue/mnli"])
    for planned in plan.recipes:
        settings = plan.settings_of(planned)
        assert settings["data"]["text_column"] == "premise"
        assert settings["data"]["text_pair_column"] == "hypothesis"
        assert settings["data"]["test_split"] == "validation_matched"
        assert settings["model"]["problem_type"] == "single_label_classification"
        assert settings["checkpoint"]["monitor"] == "val/acc"
    monitored = build_plan(STUDY[:1], [1], [OFFLINE], ["--data.source=glue/cola", "--checkpoint.monitor=val/loss"])
    assert monitored.settings_of(monitored.recipes[0])["checkpoint"]["monitor"] == "val/loss"
    with pytest.raises(UserError) as refused:
        build_plan(STUDY[:1], [1], [OFFLINE], ["--data.source", "glue/stb"])
    assert refused.value.worded(Setting.as_flag).endswith("did you mean --data.source glue/stsb?")


def test_a_run_of_glue_and_a_recipe_that_only_names_it_draw_the_same_reviews(tmp_path: Path) -> None:
    # As `fit` writes them into the run's config.yaml: the source's columns, and the defaults.
    ran = recipe(tmp_path / "a.yaml", source="glue/cola", text_column="sentence", text_pair_column=None)
    default = recipe(tmp_path / "b.yaml", source="glue/cola", text_column="text")
    plan = build_plan([ran, default, recipe(tmp_path / "c.yaml", source="glue/cola")], [1])
    assert {plan.settings_of(planned)["data"]["text_column"] for planned in plan.recipes} == {"sentence"}
