from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForSequenceClassification, LlamaConfig, PretrainedConfig, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from peft_lightning.backbone import decoder_layers
from peft_lightning.backbone.computed_again import recipe_of
from peft_lightning.backbone.decoder_layers import (
    HalfWidthRMSNorm,
    ThriftyGatedLayer,
    restore_layers,
    take_narrow_layers,
)
from tests.engine.captured_runs import CUDA

DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
SHAPE: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_thrifty_gated_layer_has_the_bits_of_transformers(dtype: torch.dtype, device: str) -> None:
    torch.manual_seed(0)
    plain = LlamaMLP(LlamaConfig(**SHAPE)).to(device, dtype)
    model = nn.Sequential(copy.deepcopy(plain))
    take_narrow_layers(model, 2048)
    assert isinstance(model[0], ThriftyGatedLayer)
    given = torch.randn(3, 5, 16, device=device, dtype=dtype)
    results = []
    for layer in (plain, model):
        x = given.clone().requires_grad_()
        output = layer(x)
        output.square().sum().backward()
        results.append([output, x.grad, *(p.grad for p in layer.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_a_thrifty_gated_layer_keeps_two_of_three_tensors() -> None:
    gate, up = (torch.randn(3, 5, requires_grad=True) for _ in range(2))
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        product = decoder_layers._SiluProduct.apply(*decoder_layers._Kept.apply(gate, up))
    assert sizes == {gate.data_ptr(): gate.nbytes, up.data_ptr(): up.nbytes}
    assert torch.equal(product, F.silu(gate) * up)


def test_activations_that_are_computed_again_end_before_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def product(gate: Tensor, up: Tensor) -> Tensor:
        made.append(gate.shape)
        return F.silu(gate) * up

    monkeypatch.setattr(decoder_layers, "_silu_product", product)
    layer: Any = LlamaMLP(LlamaConfig(**SHAPE))
    layer.down_proj = nn.Flatten(-1)  # like a layer in four bits it keeps no tensor
    model = nn.Sequential(layer)
    take_narrow_layers(model, 2048)
    x = torch.randn(3, 5, 16, requires_grad=True)
    checkpoint(model, x, use_reentrant=False).sum().backward()
    assert len(made) == 1
    assert x.grad is not None


def test_a_second_backward_pass_of_a_gate_is_an_error_and_not_another_gradient() -> None:
    gate, up = (torch.randn(3, 5, requires_grad=True) * 2 for _ in range(2))
    product = decoder_layers._SiluProduct.apply(*decoder_layers._Kept.apply(gate, up))
    product.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_what_follows_a_gate_is_told_how_to_make_it_again_only_where_it_asks() -> None:
    told: list[Any] = []

    class Down(nn.Linear):
        makes_inputs_again = True

        def forward(self, input: Tensor) -> Tensor:
            told.append(recipe_of(input))
            return super().forward(input)

    layer: Any = LlamaMLP(LlamaConfig(**SHAPE))
    layer.down_proj = Down(24, 16)
    model = nn.Sequential(layer)
    take_narrow_layers(model, 2048)
    x = torch.randn(3, 5, 16)
    model(x)
    (recipe,) = told
    assert torch.equal(recipe.function(*recipe.inputs), F.silu(layer.gate_proj(x)) * layer.up_proj(x))
    with torch.no_grad():  # nothing is made again, and what it would be made of need not be held
        model(x)
    assert told[1] is None
    Down.makes_inputs_again = False
    model(x)
    assert told[2] is None


@pytest.mark.parametrize("device", DEVICES)
def test_a_half_width_norm_is_as_near_to_32_bits_as_transformers_is(device: str) -> None:
    torch.manual_seed(0)
    exact = Qwen2RMSNorm(256).to(device)
    with torch.no_grad():
        exact.weight.uniform_(0.5, 1.5)
        exact.weight.copy_(exact.weight.bfloat16())
    given = torch.randn(4, 7, 256, device=device).bfloat16()
    slope = torch.randn(4, 7, 256, device=device).bfloat16()
    theirs = copy.deepcopy(exact).bfloat16()
    model = nn.Sequential(copy.deepcopy(theirs))
    take_narrow_layers(model, 0)
    assert isinstance(model[0], HalfWidthRMSNorm)
    results = []
    for norm, dtype in ((exact, torch.float32), (theirs, torch.bfloat16), (model, torch.bfloat16)):
        x = given.to(dtype, copy=True).requires_grad_()
        with torch.autocast(device, torch.bfloat16, enabled=dtype != torch.float32):
            output = norm(x)
        output.backward(slope.to(dtype))
        assert x.grad is not None
        assert output.dtype == dtype
        results.append((output.detach().float(), x.grad.float()))
    for right, before, now in zip(*results, strict=True):
        assert (now - right).abs().mean() <= (before - right).abs().mean() * 1.05


@pytest.mark.parametrize("config", [LlamaConfig(**SHAPE), Qwen3Config(**SHAPE)], ids=["llama", "qwen3"])
def test_layers_are_changed_where_they_are_wide_and_can_be_restored(
    config: PretrainedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForSequenceClassification.from_config(config)
    before = [type(module) for module in model.modules()]
    take_narrow_layers(model, config.hidden_size)
    kinds = [type(module) for module in model.modules()]
    assert HalfWidthRMSNorm in kinds
    assert ThriftyGatedLayer not in kinds
    monkeypatch.setattr(decoder_layers, "_WIDE", config.hidden_size)
    take_narrow_layers(model, config.hidden_size)
    assert [type(module) for module in model.modules()].count(ThriftyGatedLayer) == 2
    restore_layers(model)
    assert [type(module) for module in model.modules()] == before


def test_a_layer_with_another_activation_is_left_alone() -> None:
    model = nn.Sequential(LlamaMLP(LlamaConfig(**SHAPE, hidden_act="gelu")))
    take_narrow_layers(model, 4096)
    assert isinstance(model[0], LlamaMLP)
