import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning.runs.hyperparameters import hyperparameters
from peft_lightning.runs.identity import config_sha256, first_value, spelled_otherwise
from tests.test_recipes import parsed

WATCHED = {
    ("trainer", "default_root_dir"),
    ("trainer", "enable_progress_bar"),
    ("trainer", "enable_model_summary"),
    ("trainer", "logger"),
    ("trainer", "profiler"),
    ("data", "cache_dir"),
    ("data", "predict_file"),
    ("checkpoint", "max_time_share"),
    # A run that ran out of memory goes on with less of it.
    ("memory_limit_gib",),
}


@pytest.fixture
def config() -> dict[str, Any]:
    """The whole configuration of a recipe, as the command line makes it."""
    return parsed("--config", "configs/lora.yaml")


def paths(config: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting's place in a configuration."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from paths(value, (*above, name))
        else:
            yield (*above, name)


def changed(config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy with one setting changed."""
    copied = copy.deepcopy(config)
    node = copied
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = "another value"
    return copied


def test_where_and_how_a_run_is_watched_is_left_out_and_everything_else_counts(config: dict[str, Any]) -> None:
    del config["ckpt_path"], config["test_after_fit"]
    ours = config_sha256(config)
    assert len(ours) == 64
    ignored = {path for path in paths(config) if config_sha256(changed(config, path)) == ours}
    assert ignored == WATCHED
    assert len(list(paths(config))) > 60


def test_the_hash_is_of_the_settings_not_of_their_order_or_their_file(config: dict[str, Any]) -> None:
    turned = {name: config[name] for name in reversed(list(config))}
    assert config_sha256(turned) == config_sha256(config)
    assert config_sha256(yaml.safe_load(yaml.safe_dump(config))) == config_sha256(config)


def test_a_run_from_before_a_setting_could_be_chosen_is_still_this_configuration(config: dict[str, Any]) -> None:
    old = copy.deepcopy(config)
    del old["model"]["backbone_dtype"]
    assert config_sha256(old) == config_sha256(config)
    config["model"]["backbone_dtype"] = "bfloat16"
    assert config_sha256(old) != config_sha256(config)


def test_settings_that_are_added_leave_earlier_runs_their_hash(config: dict[str, Any]) -> None:
    del config["ckpt_path"], config["test_after_fit"]
    # Of this recipe before there were tasks, decoders and a comparison's rehearsal. It changes with the recipe alone.
    assert config_sha256(config) == "93df4317f3f0d4a019eda2b0848602626bb8060b7a54e8fce031d91a1c24a308"


def test_a_setting_s_first_value_is_found_in_its_section_too() -> None:
    assert first_value("model.quantize_on") == "auto"
    assert first_value("early_stopping.min_delta") == 0.0
    assert first_value("calibration.temperature") is False
    assert first_value("data.max_length") is None


def test_a_monitor_that_is_left_to_the_task_is_the_one_that_earlier_runs_wrote_out(config: dict[str, Any]) -> None:
    assert config["checkpoint"]["monitor"] is None
    ours = config_sha256(config)
    assert config_sha256(config | {"checkpoint": config["checkpoint"] | {"monitor": "val/acc"}}) == ours
    assert config_sha256(config | {"checkpoint": config["checkpoint"] | {"monitor": "val/f1"}}) != ours


def test_settings_shown_beside_the_figures_have_the_same_names_for_every_method(config: dict[str, Any]) -> None:
    seen = [hyperparameters(parsed("--config", f"configs/{name}.yaml")) for name in ("full", "lora", "qlora", "ia3")]
    common = [{name for name in settings if not name.startswith("method/")} for settings in seen]
    assert all(names == common[0] for names in common)
    assert [settings["method"] for settings in seen] == ["FullFineTuning", "LoRA", "QLoRA", "IA3"]
    for settings in seen:
        # TensorBoard draws axes of these types alone.
        assert all(isinstance(value, bool | int | float | str) for value in settings.values())
    assert seen[1]["learning_rate"] == config["model"]["learning_rate"]
    assert Path(str(seen[1]["source"])).name == "imdb"


def test_the_same_processes_are_spelled_in_every_way_that_they_can_be_asked_for() -> None:
    config = {"seed_everything": 1, "trainer": {"devices": "4", "num_nodes": 2, "max_epochs": 3}}
    found = [(one["trainer"]["devices"], one["trainer"]["num_nodes"]) for one in spelled_otherwise(config)]
    assert found == [(8, 1), ("8", 1), (4, 2), (2, 4), ("2", 4), (1, 8), ("1", 8)]
    assert all(one["seed_everything"] == 1 and one["trainer"]["max_epochs"] == 3 for one in spelled_otherwise(config))
    assert list(spelled_otherwise({"trainer": {"devices": "auto", "num_nodes": 1}})) == []
    assert list(spelled_otherwise({"trainer": {"devices": [0, 1], "num_nodes": 1}})) == []
