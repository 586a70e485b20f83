import copy
from typing import Any

import pytest
import torch

from peft_lightning.module.checkpoint_keys import identity_refusal, weights_refusal

IDENTITY: dict[str, Any] = {
    "schema": 1,
    "method": "lora",
    "method_settings": {"r": 8},
    "backbone": {"name": "roberta-base", "revision": None, "sha256": "a" * 64, "model_type": "roberta"},
    "class_names": ["neg", "pos"],
}
SHAPES = {"model.lora_A": (8, 4), "model.head": (2, 4)}
CHECKPOINT = {"peft_lightning": IDENTITY, "state_dict": {name: torch.zeros(shape) for name, shape in SHAPES.items()}}


def refusal(**changes: Any) -> str:
    """Why a checkpoint that says something else is refused."""
    checkpoint = copy.deepcopy(CHECKPOINT)
    checkpoint["peft_lightning"] = IDENTITY | changes
    reason = identity_refusal(checkpoint, IDENTITY)
    assert reason is not None
    assert "\n" not in str(reason)
    return str(reason)


def test_its_own_is_taken() -> None:
    assert identity_refusal(CHECKPOINT, IDENTITY) is None
    assert weights_refusal(CHECKPOINT, SHAPES) is None


def test_of_a_method_s_settings_only_those_that_differ_are_named() -> None:
    named = refusal(method_settings={"r": 16, "bias": "none"})
    assert "method_settings {'r': 16, 'bias': 'none'} and this configuration says {'r': 8, 'bias': None}" in named
    same = IDENTITY | {"method_settings": {"r": 8, "bias": "none"}}
    assert "bias" not in str(
        identity_refusal({"peft_lightning": same | {"method_settings": {"r": 16, "bias": "none"}}}, same)
    )


def test_the_same_weights_from_another_place_are_the_same_backbone() -> None:
    checkpoint = copy.deepcopy(CHECKPOINT)
    checkpoint["peft_lightning"]["backbone"] |= {"name": "/models/roberta-base", "revision": "main"}
    assert identity_refusal(checkpoint, IDENTITY) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, ["version 2", "version 1"]),
        ({"method": "ia3"}, ["ia3", "lora", "config.yaml"]),
        ({"method_settings": {"r": 16}}, ["{'r': 16}", "{'r': 8}", "config.yaml"]),
        ({"class_names": ["pos", "neg"]}, ["class_names", "config.yaml"]),
        ({"backbone": {"name": "bert-base", "sha256": "b" * 64}}, ["bert-base", "roberta-base", "bbbbbbbbbbbb"]),
        ({"backbone": {}}, ["backbone"]),
    ],
)
def test_another_origin_is_named(changes: dict[str, Any], words: list[str]) -> None:
    for word in words:
        assert word in refusal(**changes)


def test_a_backbone_held_in_another_type_is_named_with_the_mend() -> None:
    reason = refusal(backbone_dtype="bfloat16")
    assert "use backbone_dtype='bfloat16' instead of float32" in reason


def test_a_checkpoint_from_before_the_type_could_be_chosen_is_one_of_32_bits() -> None:
    assert identity_refusal(CHECKPOINT, IDENTITY | {"backbone_dtype": "float32"}) is None
    assert identity_refusal(CHECKPOINT, IDENTITY | {"backbone_dtype": "smallest"}) is not None


def test_a_checkpoint_from_before_there_were_other_tasks_is_one_of_single_labels() -> None:
    single = IDENTITY | {"problem_type": "single_label_classification"}
    assert identity_refusal(CHECKPOINT, single) is None
    reason = identity_refusal(CHECKPOINT, IDENTITY | {"problem_type": "regression"})
    assert reason is not None
    assert "problem_type single_label_classification" in str(reason)


def test_what_says_nothing_of_itself_is_refused() -> None:
    assert identity_refusal({"state_dict": {}}, IDENTITY) is not None


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_other_weights_are_named(change: str) -> None:
    state = dict(CHECKPOINT["state_dict"])
    if change == "missing":
        del state["model.head"]
    elif change == "extra":
        state["model.bias"] = torch.zeros(2)
    else:
        state["model.head"] = torch.zeros(3, 4)
    reason = weights_refusal(CHECKPOINT | {"state_dict": state}, SHAPES)
    assert reason is not None
    assert "1 differ" in str(reason)
    assert ("model.bias" if change == "extra" else "model.head") in str(reason)
