from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit

from peft_lightning.backbone import scales_4bit
from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import FullFineTuning, LoRA, Method, QLoRA
from tests.methods.tiny_backbones import CONFIGS, batch

GetBackbone = Callable[..., Backbone]
NEW = {"bert": "bert.pooler.dense", "albert": "albert.pooler", "deberta-v2": "pooler.dense", "modernbert": "head.dense"}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_encoder_is_quantised_and_what_is_new_is_not(model_type: str, tiny_backbone: GetBackbone) -> None:
    model = QLoRA().load_backbone(tiny_backbone(model_type), num_labels=3)
    quantised = {name for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert quantised
    assert {name for name in linear - quantised if name.startswith(model.base_model_prefix)} <= {NEW.get(model_type)}
    assert NEW.get(model_type) not in quantised
    assert not [name for name in quantised if "classifier" in name]


def test_options_reach_the_layers(tiny_backbone: GetBackbone) -> None:
    backbone = replace(tiny_backbone(), compute_dtype=torch.bfloat16)
    for double in (True, False):
        model = QLoRA(quant_type="fp4", use_double_quant=double).load_backbone(backbone, num_labels=3)
        layer: Any = model.get_submodule("roberta.encoder.layer.0.attention.self.query")
        assert layer.compute_dtype is torch.bfloat16
        assert layer.weight.quant_state.quant_type == "fp4"
        scales = layer.weight.quant_state.absmax
        # What has been quantised a second time is no maximum of a block any more.
        largest = backbone.load(3).get_parameter("roberta.encoder.layer.0.attention.self.query.weight")
        exact = largest.flatten().view(-1, layer.weight.quant_state.blocksize).abs().amax(1)
        assert torch.equal(scales, exact) is not double
        assert torch.allclose(scales, exact, rtol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "smallest"])
@pytest.mark.parametrize("nested", [False, True])
def test_scales_are_unpacked_unless_they_are_many(
    dtype: BackboneDtype, nested: bool, tiny_backbone: GetBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_BYTES", "MOST_OF_SMALLEST") if nested else ():
        monkeypatch.setattr(scales_4bit, limit, 0)
    model = QLoRA().load_backbone(tiny_backbone(dtype=dtype), num_labels=3)
    weights: list[Any] = [module.weight for module in model.modules() if isinstance(module, Linear4bit)]
    assert {weight.quant_state.nested for weight in weights} == {nested}


def test_the_smallest_form_has_the_words_in_four_bits_and_the_linear_layers_as_ever(tiny_backbone: GetBackbone) -> None:
    plain = QLoRA().load_backbone(tiny_backbone(width=64), num_labels=3)
    for dtype in ("bfloat16", "smallest"):
        model = QLoRA().load_backbone(tiny_backbone(width=64, dtype=dtype), num_labels=3)
        layer = "roberta.encoder.layer.0.attention.self.query.weight"
        assert torch.equal(model.get_parameter(layer), plain.get_parameter(layer))
        words = model.get_parameter("roberta.embeddings.word_embeddings.weight")
        assert words.dtype == (torch.uint8 if dtype == "smallest" else torch.bfloat16)


def test_words_that_cannot_be_packed_are_noted(tiny_backbone: GetBackbone) -> None:
    method = QLoRA()
    method.load_backbone(tiny_backbone(dtype="smallest"), num_labels=3)
    assert ["word embeddings are not quantised" in note for note in method.notes] == [True]


def test_nothing_but_the_adapters_and_the_head_requires_gradients(tiny_backbone: GetBackbone) -> None:
    model = QLoRA().load_backbone(tiny_backbone(), num_labels=3)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.is_gradient_checkpointing


def test_no_4bit_layer_repacks_its_weights_in_an_evaluation(tiny_backbone: GetBackbone) -> None:
    model = QLoRA().load_backbone(tiny_backbone(), num_labels=3)
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_missing_bitsandbytes_is_one_line(tiny_backbone: GetBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "peft_lightning.backbone.quantised.find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        QLoRA().load_backbone(tiny_backbone(), num_labels=3)


def test_lora_beside_a_backbone_in_four_bits_is_qlora(tiny_backbone: GetBackbone) -> None:
    def trained(method: LoRA, backbone: Backbone) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return method.adapt(method.load_backbone(backbone, num_labels=3)).state_dict()

    plain = tiny_backbone()
    own = trained(QLoRA(r=4), plain)
    beside = trained(
        LoRA(r=4, lora_dropout=0.05, target_modules=["query", "key", "value"]),
        replace(plain, quantisation=Quantisation("nf4")),
    )
    assert own.keys() == beside.keys()
    assert all(torch.equal(own[name], beside[name]) for name in own)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (FullFineTuning(), "full fine-tuning cannot train weights in int8"),
        (QLoRA(), "qlora quantises the backbone itself"),
        (LoRA(bias="all"), "biases of layers in int8 cannot be trained"),
    ],
)
def test_a_method_that_cannot_use_quantised_layers_says_so(
    method: Method, line: str, tiny_backbone: GetBackbone
) -> None:
    with pytest.raises(UserError, match=line):
        method.load_backbone(replace(tiny_backbone(), quantisation=Quantisation("int8")), num_labels=3)


def test_layers_in_eight_bits_move_with_the_model_that_holds_them(tiny_backbone: GetBackbone) -> None:
    model = replace(tiny_backbone(), quantisation=Quantisation("int8")).load(num_labels=3)
    layer: Any = model.get_submodule("roberta.encoder.layer.0.attention.self.query")
    for holder in (layer.weight, layer.state):  # before the first forward pass, and after it
        before = layer.weight.data_ptr()
        model._apply(lambda values: values.clone())  # as a move to another device does
        assert layer.weight.data_ptr() != before
        assert holder.CB.data_ptr() == layer.weight.data_ptr()
        assert holder.SCB.device == layer.weight.device
        model(**batch())


def test_dora_unpacks_layers_in_eight_bits_and_trains(tiny_backbone: GetBackbone) -> None:
    method = LoRA(use_dora=True)
    model = method.adapt(method.load_backbone(replace(tiny_backbone(), quantisation=Quantisation("int8")), 3))
    for _ in range(2):
        model.train()(**batch()).logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
