"""How recipes are found: by their files, by their names, and by names that they no longer have."""

from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.recipes import find_config, find_recipe, is_packaged, read_config, recipe_name
from tests.test_recipes import CONFIGS, RECIPES


def test_a_recipe_is_found_by_its_word_and_one_directly_in_configs_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("vera") == find_recipe("peft/vera") == "configs/peft/vera.yaml"
    assert find_recipe("lora") == "configs/lora.yaml"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/vera.yaml").write_text("model: {method: LoRA}")
    assert find_recipe("vera") == "configs/vera.yaml"
    with pytest.raises(
        UserError,
        match=r"^no recipe is called verra: did you mean vera\? there are full, .*, vera, adalora, .*, waveft,"
        r" decoder/7b-qlora, decoder/7b-qlora-lean, decoder/dora, decoder/full, decoder/lora, decoder/qlora, peft/vera",
    ):
        find_recipe("verra")


def test_a_recipe_that_is_not_there_comes_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("configs/lora.yaml").read_text() == (CONFIGS / "lora.yaml").read_text()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/lora.yaml").write_text("data: {}")
    assert read_config(find_config("configs/lora.yaml")) == {"data": {}}
    with pytest.raises(
        UserError, match=r"no such file \(did you mean configs/qlora\.yaml\?\); .*configs/study/ia3\.yaml"
    ):
        find_config("configs/qloar.yaml")


@pytest.mark.parametrize("named", ["configs/tuned/lora.yaml", "./configs/tuned/lora.yaml"])
def test_a_recipe_whose_folder_was_renamed_is_found_by_its_old_name(named: str) -> None:
    with pytest.raises(
        UserError, match=r"tuned/lora\.yaml': no such file \(it is now configs/tuned_on_embedded/lora\.yaml\)"
    ):
        find_config(named)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("configs/lora.yaml", "lora"),
        ("configs/study/lora.yaml", "study/lora"),
        ("./configs/../configs/study/lora.yaml", "study/lora"),
        ("/lib/peft_lightning/configs/tuned_on_embedded/lora.yaml", "tuned_on_embedded/lora"),
        ("mine/lora.yaml", "lora"),
        ("../up.yaml", "up"),
        ("configs/../elsewhere/up.yaml", "up"),
    ],
)
def test_a_recipe_s_name_is_its_path_below_configs_or_its_stem(path: str, name: str) -> None:
    assert recipe_name(Path(path)) == name


def test_every_recipe_of_the_package_is_known_by_its_name() -> None:
    assert all(is_packaged(recipe_name(path)) for path in RECIPES)
    assert not is_packaged("study/head")
