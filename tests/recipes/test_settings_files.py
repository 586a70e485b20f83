"""How files of settings are read and merged: another class starts without the arguments of the one before."""

import copy
from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.recipes import merge, read_config
from tests.test_recipes import parsed

LORA = {"model": {"method": {"class_path": "peft_lightning.methods.LoRA", "init_args": {"target_modules": ["query"]}}}}


def test_another_class_starts_without_the_old_one_s_arguments() -> None:
    merged = merge(LORA, {"model": {"method": {"class_path": "IA3"}}})
    assert merged["model"]["method"] == {"class_path": "IA3"}
    flagged = parsed("--config", "configs/lora.yaml", "--model.method=IA3")
    assert flagged["model"]["method"]["init_args"]["target_modules"] is None
    filed = parsed("--config", "configs/lora.yaml", "--config", "configs/ia3.yaml")
    assert filed["model"]["method"]["init_args"]["target_modules"] is None


def test_another_type_of_peft_starts_without_the_old_one_s_arguments() -> None:
    filed = parsed("--config", "configs/peft/vera.yaml", "--config", "configs/peft/miss.yaml")
    assert filed["model"]["method"]["init_args"]["config"] == {
        "peft_type": "MISS",
        "r": 64,
        "target_modules": ["query", "value"],
    }
    vera = {"config": {"peft_type": "VERA", "r": 8, "d_initial": 0.1}}
    assert merge(vera, {"config": {"peft_type": "vera", "r": 4}}) == {
        "config": {**vera["config"], "peft_type": "vera", "r": 4}
    }
    assert merge(vera, {"config": {"r": 4}}) == {"config": {"peft_type": "VERA", "r": 4, "d_initial": 0.1}}


def test_the_same_class_keeps_its_arguments() -> None:
    merged = merge(LORA, {"model": {"method": {"class_path": "LoRA", "init_args": {"r": 4}}}})
    assert merged["model"]["method"]["init_args"] == {"target_modules": ["query"], "r": 4}
    flagged = parsed("--config", "configs/lora.yaml", "--model.method=LoRA", "--model.method.r=4")
    assert (
        flagged["model"]["method"]["init_args"] | {"r": 4, "lora_alpha": 32} == flagged["model"]["method"]["init_args"]
    )


def test_merging_leaves_the_recipe_alone() -> None:
    before = copy.deepcopy(LORA)
    merge(LORA, {"model": {"method": {"init_args": {"target_modules": ["key"]}}}})
    assert before == LORA


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"- 1", b""])
def test_a_file_that_is_no_recipe_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.yaml"):
        read_config(path)
