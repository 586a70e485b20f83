from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.backbone.loading import Backbone
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods import IA3, PEFT, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import trainable_names
from tests.methods.tiny_decoders import save_decoder

GetBackbone = Callable[..., Backbone]


def adapted_layers(method: Method, backbone: Backbone) -> set[str]:
    model = method.adapt(method.load_backbone(backbone, num_labels=2))
    return {name.split(".")[-4] for name in trainable_names(model) if ".lora_A." in name}


@pytest.mark.parametrize(
    ("method", "layers"), [(LoRA, {"query_proj", "value_proj"}), (QLoRA, {"query_proj", "value_proj"})]
)
def test_peft_chooses_where_the_default_does_not_fit(
    method: type[Method], layers: set[str], tiny_backbone: GetBackbone
) -> None:
    chosen = method()
    assert adapted_layers(chosen, tiny_backbone("deberta-v2")) == layers
    assert any("query_proj, value_proj" in note for note in chosen.notes)


def test_a_default_that_fits_is_kept_without_a_note(tiny_backbone: GetBackbone) -> None:
    method = LoRA()
    assert adapted_layers(method, tiny_backbone("roberta")) == {"query", "value"}
    assert not method.notes


def test_what_the_user_asked_for_is_never_replaced(tiny_backbone: GetBackbone) -> None:
    method = LoRA(target_modules=["query", "volue"])
    with pytest.raises(UserError, match=r"no linear layer 'volue'; .*: query, key, value") as raised:
        method.adapt(method.load_backbone(tiny_backbone("roberta"), num_labels=2))
    assert "attention.output.dense" in str(raised.value)
    assert "classifier" not in str(raised.value)


@pytest.mark.parametrize("kind", ["DELORA", "VERA"])
def test_a_recipe_of_another_type_finds_the_layers_of_a_decoder(kind: str, tmp_path: Path) -> None:
    method = PEFT({"peft_type": kind, "r": 2, "target_modules": ["query", "value"]})
    model = method.adapt(method.load_backbone(Backbone(str(save_decoder("qwen2", tmp_path))), num_labels=2))
    assert {name.split(".")[-3] for name in trainable_names(model) if kind.lower() in name} == {"q_proj", "v_proj"}
    assert method.notes == [
        "qwen2 lacks layers query, value: PEFT has a choice for it, q_proj, v_proj, which is adapted"
    ]


def test_a_type_adapts_the_layers_that_there_are_and_says_which_are_lacking(tiny_backbone: GetBackbone) -> None:
    method = PEFT({"peft_type": "MISS", "r": 2, "target_modules": ["query", "value", "intermediate.dense"]})
    model = method.adapt(method.load_backbone(tiny_backbone("deberta-v2"), num_labels=2))
    assert {name.split(".")[-3] for name in trainable_names(model) if "miss" in name} == {"dense"}
    assert "deberta-v2 lacks layers query, value: intermediate.dense of those asked for are adapted" in method.notes


def test_layers_of_a_type_that_the_user_misspells_are_not_passed_over(tiny_backbone: GetBackbone) -> None:
    method = PEFT({"peft_type": "MISS", "target_modules": ["query", "volue"]})
    with pytest.raises(UserError, match=r"no layer 'volue'; .*: query, key, value") as raised:
        method.adapt(method.load_backbone(tiny_backbone("roberta"), num_labels=2))
    assert "--model.method.config.target_modules '[...]'" in raised.value.worded(Setting.as_flag)


def test_null_leaves_the_layers_of_a_type_to_peft_as_the_parser_words_it(tiny_backbone: GetBackbone) -> None:
    method = PEFT({"peft_type": "MISS", "r": 2, "target_modules": "None"})
    model = method.adapt(method.load_backbone(tiny_backbone("roberta"), num_labels=2))
    assert any("query" in name for name in trainable_names(model))


def test_the_head_is_no_target(tiny_backbone: GetBackbone) -> None:
    method = LoRA(target_modules=["out_proj"])
    with pytest.raises(UserError, match="no linear layer 'out_proj'"):
        method.adapt(method.load_backbone(tiny_backbone("roberta"), num_labels=2))


def test_all_linear_adapts_every_layer_of_the_encoder(tiny_backbone: GetBackbone) -> None:
    assert adapted_layers(LoRA(target_modules="all-linear"), tiny_backbone()) == {"query", "key", "value", "dense"}


def test_ia3_rescales_feedforward_inputs_that_peft_knows(tiny_backbone: GetBackbone) -> None:
    method = IA3(target_modules=["value", "output.dense"])
    model = method.adapt(method.load_backbone(tiny_backbone("bert"), num_labels=2))
    vectors = {name: p.shape for name, p in model.named_parameters() if "ia3_l" in name}
    assert len(vectors) == 2 * 3
    assert {tuple(shape) for name, shape in vectors.items() if "value" in name} == {(32, 1)}
    assert {tuple(shape) for name, shape in vectors.items() if "dense" in name} == {(1, 32), (1, 48)}


def test_ia3_asks_which_layers_are_feedforward_where_peft_does_not_know(tiny_backbone: GetBackbone) -> None:
    method = IA3(target_modules=["value", "output.dense"])
    with pytest.raises(UserError, match="feedforward_modules"):
        method.adapt(method.load_backbone(tiny_backbone("electra"), num_labels=2))


@pytest.mark.parametrize(
    ("method", "arguments", "line"),
    [
        (LoRA, {"r": 0}, "r is 0"),
        (QLoRA, {"r": -1}, "r is -1"),
        (LoRA, {"lora_alpha": 0}, "lora_alpha is 0"),
        (LoRA, {"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        (QLoRA, {"lora_dropout": -0.1}, "lora_dropout is -0.1"),
        (LoRA, {"target_modules": []}, "target_modules is empty"),
        (IA3, {"target_modules": []}, "target_modules is empty"),
        (IA3, {"target_modules": ["key"], "feedforward_modules": ["dense"]}, "'dense' is not among target_modules"),
    ],
)
def test_values_out_of_range_are_refused(method: type[Method], arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        method(**arguments)
