import contextlib
import copy
import io
from functools import cache
from typing import Any

import pytest
import yaml

from peft_lightning.__main__ import main
from peft_lightning.compare.fairness.known_effects import TRIED, WEIGHTS
from peft_lightning.compare.fairness.settings import (
    Fairness,
    compare_settings,
    headline,
    shared_rate_in_words,
    short_listing,
    unequal_settings,
)

METHODS = ("full", "lora", "qlora", "ia3")
STUDY = tuple(f"study/{name}" for name in METHODS)
Config = dict[str, Any]


@cache
def _printed(name: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main(["fit", "--config", f"configs/{name}.yaml", "--print_config"])
    return printed.getvalue()


def recipe(name: str) -> Config:
    """A real recipe, as `fit` resolves it."""
    config: Config = yaml.safe_load(_printed(name))
    return config


def compared(*names: str) -> Fairness:
    return compare_settings({name: recipe(name) for name in names})


def changed(section: str, key: str, value: object) -> Fairness:
    one, other = recipe("lora"), recipe("lora")
    other[section][key] = value
    return compare_settings({"one": one, "other": other})


def test_the_study_s_recipes_differ_in_qlora_s_optimiser_alone() -> None:
    fairness = compared(*STUDY)
    (found,) = fairness.differences
    assert found.setting == "model.optimizer"
    assert found.values == dict(zip(STUDY, ("adamw", "adamw", "paged_adamw_8bit", "adamw"), strict=True))
    assert set(found.weight.touches) == {"memory", "time", "quality"}
    between = "study/full, study/lora, study/qlora and study/ia3"
    assert headline(fairness).startswith(f"Beyond the method itself 1 setting differs between {between}")


def test_the_study_s_one_learning_rate_is_not_passed_off_as_fair() -> None:
    fairness = compared("study/full", "study/lora", "study/ia3")
    assert headline(fairness) == "Nothing but the method differs between study/full, study/lora and study/ia3."
    assert "same learning rate (2e-05), which is not the same chance" in shared_rate_in_words(fairness)


def test_the_tuned_recipes_differ_in_optimiser_rate_and_schedule() -> None:
    fairness = compared(*(f"tuned_on_embedded/{name}" for name in METHODS))
    found = {difference.setting: difference.values for difference in fairness.differences}
    assert found.keys() == {"model.optimizer", "model.learning_rate", "model.schedule"}
    assert list(found["model.learning_rate"].values()) == [1e-4, 2e-4, 5e-4, 5e-3]
    assert list(found["model.schedule"].values()) == ["linear", "cosine", "linear", "cosine"]
    assert fairness.shared_rate is None
    assert headline(fairness).startswith("Beyond the method itself 3 settings differ between tuned_on_embedded/full,")


@pytest.mark.parametrize(
    ("section", "key", "value", "touched"),
    [
        ("model", "gradient_checkpointing", True, {"memory", "time"}),
        ("model", "backbone_dtype", "smallest", {"memory", "time", "quality"}),
        ("trainer", "precision", "bf16-mixed", {"memory", "time", "quality"}),
        ("trainer", "accumulate_grad_batches", 4, {"time", "quality"}),
        ("trainer", "max_epochs", 5, {"time", "quality"}),
        ("data", "batch_size", 16, {"memory", "time", "quality"}),
        ("data", "pad_to_multiple_of", 8, {"memory", "time"}),
        ("data", "seed", 1, {"quality"}),
    ],
)
def test_what_confounds_is_found_and_weighed(section: str, key: str, value: object, touched: set[str]) -> None:
    fairness = changed(section, key, value)
    (found,) = fairness.differences
    assert found.setting == f"{section}.{key}"
    assert found.values["other"] == value
    assert set(found.weight.touches) == touched


def test_every_setting_that_fit_takes_is_found_unless_it_is_left_out_on_purpose() -> None:
    base = recipe("lora")
    ignored = set()
    for section in ("model", "data", "trainer", "checkpoint"):
        for key in base[section]:
            if key != "method" and not changed(section, key, "something else").differences:
                ignored.add(f"{section}.{key}")
    assert ignored == {
        "data.cache_dir",
        "data.predict_file",
        "trainer.default_root_dir",
        "trainer.enable_autolog_hparams",
        "trainer.enable_model_summary",
        "trainer.enable_progress_bar",
        "trainer.logger",
        "trainer.model_registry",
    }


def test_every_weight_is_of_a_setting_that_exists() -> None:
    base = recipe("lora")
    for name in WEIGHTS.keys() - {TRIED}:
        section, _, key = name.rpartition(".")
        assert key in (base[section] if section else base), name


def test_an_unknown_setting_is_found_and_stands_behind_the_known_confounders() -> None:
    one, other = ({"a_new_section": {"deep": {"setting": value}}, **recipe("lora")} for value in (None, [1, 2]))
    other["trainer"]["precision"] = "bf16-mixed"
    other["model"]["learning_rate"] = 1e-2
    found = compare_settings({"one": one, "other": other})
    settings = [difference.setting for difference in found.differences]
    assert settings == ["trainer.precision", "model.learning_rate", "a_new_section.deep.setting"]
    assert found.differences[-1].values == {"one": None, "other": [1, 2]}
    assert found.differences[-1].weight.words.startswith("what this does to the comparison is not known")


def test_the_method_and_the_seed_of_the_run_are_no_difference() -> None:
    one, other = recipe("lora"), recipe("lora")
    other["model"]["method"]["init_args"]["r"] = 2
    other["seed_everything"] = 7
    other["trainer"]["default_root_dir"] = "elsewhere"
    fairness = compare_settings({"one": one, "other": other})
    assert fairness.differences == ()
    # One method at two ranks: the same rate for both is no reproach.
    assert headline(fairness) == "Nothing but the method differs between one and other."
    assert shared_rate_in_words(fairness) == ""


@pytest.mark.parametrize(
    ("tried", "said", "settings"),
    [
        (None, "whether the same number of rates was tried for each is not recorded", 1),
        ({"one": 5}, "whether the same number of rates was tried for each is not recorded", 2),
        ({"one": 5, "other": 5}, "the same number of rates was tried for each (5)", 1),
        ({"one": 5, "other": 1}, "but not the same number of rates was tried for each", 2),
    ],
)
def test_a_tuned_rate_says_whether_each_method_had_the_same_budget(
    tried: dict[str, int] | None, said: str, settings: int
) -> None:
    one, other = recipe("full"), recipe("lora")
    other["model"]["learning_rate"] = 1e-3
    fairness = compare_settings({"one": one, "other": other}, tried)
    assert len(fairness.differences) == settings
    (rate,) = (found for found in fairness.differences if found.setting == "model.learning_rate")
    assert rate.weight.words == f"expected to differ when it was tuned for each; {said}"


def test_a_run_from_before_a_setting_could_be_chosen_differs_only_from_one_that_chose() -> None:
    old, new = recipe("lora"), recipe("lora")
    del old["model"]["backbone_dtype"], old["model"]["quantize_on"], old["data"]["add_eos_token"], old["early_stopping"]
    assert compare_settings({"old": old, "new": new}).differences == ()
    assert unequal_settings({"old": old, "new": new}) == {}
    new["model"]["backbone_dtype"] = "bfloat16"
    (found,) = compare_settings({"old": old, "new": new}).differences
    assert found.values == {"old": "float32", "new": "bfloat16"}


def test_one_recipe_alone_makes_no_claim_and_nothing_given_is_changed() -> None:
    config = recipe("lora")
    before = copy.deepcopy(config)
    assert headline(compare_settings({"lora": config})) == "One recipe alone is not compared with anything."
    assert config == before


def test_runs_of_one_recipe_must_share_the_method_s_settings_and_may_differ_in_seed_and_folder() -> None:
    one, other = recipe("lora"), recipe("lora")
    other["seed_everything"] = 7
    other["trainer"]["default_root_dir"] = "elsewhere"
    assert unequal_settings({"1": one, "7": other}) == {}
    rank = one["model"]["method"]["init_args"]["r"]
    other["model"]["method"]["init_args"]["r"] = 2
    assert unequal_settings({"1": one, "7": other}) == {"model.method.init_args.r": {"1": rank, "7": 2}}


def test_more_names_than_a_sentence_holds_are_counted() -> None:
    assert short_listing(list("abcdefgh")) == "a, b, c, d, e, f, g and h"
    assert short_listing(list("abcdefghij")) == "a, b, c, d, e, f, g and 3 others"
    assert "between the 9 recipes: what" in headline(Fairness(tuple("abcdefghi"), (None,), None))  # type: ignore[arg-type]
