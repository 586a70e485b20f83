import contextlib
import io
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning.__main__ import main
from peft_lightning.commands.command_settings import Settings
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import FILE, read_plan
from peft_lightning.errors import UserError

STUDY = [f"configs/study/{name}.yaml" for name in ("full", "lora", "qlora", "ia3")]
OFFLINE = "configs/offline.yaml"


def recipe(path: Path, method: str = "LoRA", **data: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {"method": {"class_path": f"peft_lightning.methods.{method}"}, "model_name_or_path": "embedded"}
    path.write_text(yaml.safe_dump({"model": model, "data": {"source": "embedded", "n_train": 40, **data}}))
    return str(path)


def resolved(settings: dict[str, Any]) -> dict[str, Any]:
    """What `fit` makes of a run's settings."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(settings, file)
        file.flush()
        return printed_config("fit", "--config", file.name)


def printed_config(*words: str) -> dict[str, Any]:
    """What `fit` makes of a command line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main([*words, "--print_config"])
    assert ended.value.code == 0
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return config


def test_every_recipe_runs_with_every_seed_and_no_recipe_is_always_first(tmp_path: Path) -> None:
    runs = build_plan(STUDY, [3, 1, 2, 4]).runs(tmp_path)
    assert [run.seed for run in runs] == [3] * 4 + [1] * 4 + [2] * 4 + [4] * 4
    rounds = [[run.label for run in runs[start : start + 4]] for start in range(0, 16, 4)]
    assert rounds[0] == ["full", "lora", "qlora", "ia3"]
    for place in range(4):  # as many turns in each place of a round: nobody always follows a hot machine
        assert Counter(labels[place] for labels in rounds) == dict.fromkeys(rounds[0], 1)
    assert len({run.folder for run in runs}) == 16
    assert all(tmp_path in run.folder.parents for run in runs)


@pytest.mark.parametrize("name", ["null", "~", "&a", "1e3", "a: b"])
def test_a_recipe_whose_name_is_a_value_in_yaml_keeps_it(name: str, tmp_path: Path) -> None:
    (run,) = build_plan([recipe(tmp_path / f"{name}.yaml")], [1]).runs(tmp_path / "mine")
    settings = resolved(run.settings)
    assert settings["recipe"] == name
    assert settings["trainer"]["default_root_dir"] == str(run.folder)


def test_the_settings_of_a_run_are_what_fit_understands(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [7], [OFFLINE], ["--data.n_train", "400", "--model.learning_rate=1e-3"])
    plan.write(tmp_path)
    for run, method in zip(plan.runs(tmp_path), ("FullFineTuning", "LoRA"), strict=True):
        config = resolved(run.settings)
        assert config["model"]["method"]["class_path"].endswith(method)
        assert config["model"]["model_name_or_path"] == config["data"]["source"] == "embedded"
        assert config["model"]["learning_rate"] == 1e-3
        assert config["trainer"]["default_root_dir"] == str(run.folder)
        assert config["seed_everything"] == 7
        assert (config["data"]["seed"], config["data"]["n_train"], config["data"]["n_test"]) == (42, 400, 2000)


def test_a_plan_reads_back_whole_and_in_another_place(tmp_path: Path) -> None:
    plan = build_plan(STUDY, [1, 2], [OFFLINE], ["--data.n_train", "400"])
    first, second = tmp_path / "first", tmp_path / "second"
    plan.write(first)
    assert read_plan(first) == plan
    assert read_plan(first).runs(first) == plan.runs(first)
    first.rename(second)
    assert str(first) not in yaml.safe_dump(read_plan(second).runs(second)[0].settings)


@pytest.mark.parametrize(
    ("names", "recorded"),
    [
        (["configs/tuned_on_embedded/lora.yaml", "configs/full.yaml"], ["tuned_on_embedded/lora", "full"]),
        (["configs/lora.yaml", "configs/study/lora.yaml"], ["lora", "study/lora"]),
        (["configs/lora.yaml", "configs/peft/dora.yaml"], ["lora", "peft/dora"]),
        (["tuned.yaml", "../up.yaml", "./here.yaml"], ["tuned", "up", "here"]),
    ],
)
def test_a_run_records_the_recipe_that_the_user_named(
    names: list[str], recorded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for name in names:
        if not name.startswith("configs"):
            recipe(Path(name))
    plan = build_plan(names, [1])
    plan.write(tmp_path / "mine")
    named = [run.settings["recipe"] for run in read_plan(tmp_path / "mine").runs(tmp_path / "mine")]
    assert [Settings({}, [Path("job.yaml")], None, {"recipe": name}).recipe for name in named] == recorded


def test_a_plan_whose_overrides_are_words_is_read(tmp_path: Path) -> None:
    words = ["--data.n_train", "400", "--model.learning_rate=1e-3"]
    plan = build_plan(STUDY[:2], [1], [OFFLINE], words)
    plan.write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    assert content["overrides"] == {"data": {"n_train": "400"}, "model": {"learning_rate": "1e-3"}}
    (tmp_path / FILE).write_text(json.dumps(content | {"schema": 2, "overrides": words}))
    assert read_plan(tmp_path) == plan
    (tmp_path / FILE).write_text(json.dumps(content | {"schema": 2}))
    with pytest.raises(UserError, match="is damaged"):
        read_plan(tmp_path)


def test_an_edited_or_deleted_recipe_changes_no_comparison_that_has_begun(tmp_path: Path) -> None:
    a, b = recipe(tmp_path / "a.yaml"), recipe(tmp_path / "b.yaml", "IA3")
    build_plan([a, b], [1]).write(tmp_path / "mine")
    recipe(Path(a), n_train=8)
    Path(b).unlink()
    first, second = (resolved(run.settings) for run in read_plan(tmp_path / "mine").runs(tmp_path / "mine"))
    assert first["data"]["n_train"] == second["data"]["n_train"] == 40
    assert second["model"]["method"]["class_path"].endswith("IA3")


def test_a_second_comparison_does_not_overwrite_the_first(tmp_path: Path) -> None:
    build_plan(STUDY[:2], [1]).write(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(UserError, match="already holds a comparison: go on with --resume"):
        build_plan(STUDY, [1]).write(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file in the way")
    with pytest.raises(UserError, match=r"cannot make .*mine.*choose another --name"):
        build_plan(STUDY, [1]).write(tmp_path / "mine")


def _kept(folder: Path) -> dict[str, Any]:
    build_plan(STUDY[:2], [1]).write(folder)
    content: dict[str, Any] = json.loads((folder / FILE).read_text())
    return content


def test_a_torn_plan_is_one_line_wherever_it_is_torn(tmp_path: Path) -> None:
    text = json.dumps(_kept(tmp_path))
    for end in range(0, len(text), 97):
        (tmp_path / FILE).write_text(text[:end])
        with pytest.raises(UserError, match=r"plan\.json is damaged") as refused:
            read_plan(tmp_path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": ["1"]},
        {"seeds": [True]},
        {"seeds": []},
        {"recipes": []},
        {"recipes": [{"label": "a"}]},
        {"recipes": [{"label": 1, "path": "a", "settings": {"model": {"method": {"class_path": "LoRA"}}}}]},
        {"recipes": [{"label": "a", "path": "a", "settings": {}}]},
        {"overrides": None},
        {"directory": 1},
    ],
)
def test_a_plan_with_wrong_values_is_not_run(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(_kept(tmp_path) | change))
    with pytest.raises(UserError, match="is damaged"):
        read_plan(tmp_path)


def test_a_newer_plan_and_a_folder_without_one_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(_kept(tmp_path) | {"schema": 99}))
    with pytest.raises(UserError, match="version 99"):
        read_plan(tmp_path)
    for place in (tmp_path / "nowhere", tmp_path / FILE):
        with pytest.raises(UserError, match="holds no comparison"):
            read_plan(place)
