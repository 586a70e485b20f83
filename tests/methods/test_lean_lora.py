"""LoRA's lean layers compute what PEFT's own do, from the same inputs and on the same devices."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from peft_lightning.backbone.decoder_layers import take_narrow_layers
from peft_lightning.engine.graph_recorder import GraphRecorder
from peft_lightning.methods import low_rank_update
from peft_lightning.methods.lean_layers import take_lean_layers
from peft_lightning.methods.lean_lora import LeanLoRA
from peft_lightning.methods.packed_layers import LeanLoRA4bit
from tests.engine.captured_runs import CUDA
from tests.methods.lora_layers import DEVICES, INPUTS, OUTPUTS, adapted, distance, results


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["fp32", "bf16", "nf4", "int8"])
def test_a_training_step_is_pefts_to_the_rounding_of_16_bits(
    kind: str, given: torch.dtype, wide: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "int8" and device == "cpu" and given == torch.float32:
        given = torch.bfloat16
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    theirs = adapted(kind, device)
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(3, 7, INPUTS, device=device, dtype=given)
    for mine, pefts in zip(results(ours, x), results(theirs, x), strict=True):
        assert mine.dtype == pefts.dtype
        assert distance(mine, pefts) < 0.01


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}], ids=str)
def test_variants_are_pefts_own(settings: dict[str, Any]) -> None:
    theirs = adapted("bf16", "cpu", **settings)
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(3, 7, INPUTS)
    for mine, pefts in zip(results(ours, x), results(theirs, x), strict=True):
        assert torch.equal(mine, pefts)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_answers_are_pefts_to_the_bit(precision: torch.dtype) -> None:
    theirs = adapted("fp32", "cpu").eval()
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(3, 7, INPUTS)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))


def test_training_in_32_bits_is_pefts_to_the_bit() -> None:
    theirs = adapted("fp32", "cpu")
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(3, 7, INPUTS)
    for mine, pefts in zip(ours(x), theirs(x), strict=True):
        assert torch.equal(mine, pefts)


def test_a_compiled_layer_is_one_graph_and_computes_the_same() -> None:
    model = adapted("bf16", "cpu")
    take_lean_layers(model)
    x = torch.randn(7, INPUTS)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(x), model(x), rtol=0.02, atol=0.02)


def test_layers_stay_pefts_for_whom_merges_and_saves_them() -> None:
    model = adapted("nf4", "cpu")
    take_lean_layers(model)
    assert isinstance(model[0], LeanLoRA4bit)
    assert isinstance(model[0], LoraLayer)
    plain = adapted("fp32", "cpu")
    take_lean_layers(plain)
    layer = plain[0]
    assert isinstance(layer, LeanLoRA)
    assert isinstance(layer, Linear)
    x = torch.randn(7, INPUTS)
    before = plain.eval()(x)
    layer.merge()
    torch.testing.assert_close(plain(x), before)
    layer.unmerge()
    torch.testing.assert_close(plain(x), before)


@CUDA
@pytest.mark.parametrize("recomputed", [False, True])
def test_a_captured_step_of_wide_layers_has_the_bits_of_an_eager_one(
    recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0)
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=64, intermediate_size=96, mlp_bias=False)
    model: Any = nn.Sequential(*(LlamaMLP(config) for _ in range(2))).requires_grad_(False).to("cuda", torch.bfloat16)
    take_narrow_layers(model, 2048)
    inject_adapter_in_model(
        LoraConfig(r=4, lora_dropout=0.3, target_modules="all-linear", init_lora_weights=False), model
    )
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for weight in weights:
        weight.data = weight.data.float().cuda()
    take_lean_layers(model)
    x = torch.randn(4, 9, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    found: list[tuple[Tensor, ...]] = [()]

    def step() -> None:
        hidden = x
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            for layer in model:
                hidden = hidden + (checkpoint(layer, hidden, use_reentrant=False) if recomputed else layer(hidden))
        found[0] = torch.autograd.grad(hidden.float().square().sum(), [x, *weights])

    step()
    torch.manual_seed(5)
    step()
    eager = [gradient.clone() for gradient in found[0]]
    replay = GraphRecorder()(step)
    torch.manual_seed(5)
    replay()
    for captured, run in zip(found[0], eager, strict=True):
        assert torch.equal(captured, run)
    replay()
    assert not torch.equal(found[0][0], eager[0])  # other masks


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", [(INPUTS,), (5, INPUTS), (0, 7, INPUTS), (2, 3, 5, INPUTS)], ids=str)
def test_inputs_of_any_shape_are_taken(shape: tuple[int, ...], wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    theirs = adapted("bf16", "cpu")
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(shape)
    for mine, pefts in zip(results(ours, x), results(theirs, x), strict=True):
        torch.testing.assert_close(mine, pefts, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_a_dropout_that_is_switched_off_drops_nothing(device: str) -> None:
    model = adapted("bf16", device, lora_dropout=0.5)
    take_lean_layers(model)
    layer: Any = model[0]
    layer.lora_dropout.eval()
    x = torch.randn(7, INPUTS, device=device)
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(layer(x), model.eval()(x), rtol=0.02, atol=0.02)


def test_masks_of_other_devices_are_left_to_peft() -> None:
    """A wide layer would draw another one in the backward pass: it knows the random numbers of CUDA and of the CPU."""
    model = adapted("bf16", "cpu", lora_dropout=0.5)
    take_lean_layers(model)

    class Elsewhere:
        device, dtype = torch.device("mps"), torch.bfloat16

    x: Any = Elsewhere()
    left = torch.zeros(1)
    torch.set_autocast_enabled("mps", True)
    try:
        assert low_rank_update.forward_lean(model[0], lambda *_: left, x) is left
    finally:
        torch.set_autocast_enabled("mps", False)


@pytest.mark.parametrize("trains", [True, False])
def test_shapes_are_found_on_a_device_without_autocast(trains: bool) -> None:
    model = adapted("fp32", "cpu").to("meta").train(trains)
    take_lean_layers(model)
    assert model(torch.empty(3, 7, INPUTS, device="meta")).shape == (3, 7, OUTPUTS)


@pytest.mark.parametrize("wide", [True, False])
def test_weights_that_are_freed_until_the_backward_pass_get_the_same_gradients(
    wide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP2 frees a layer's weights after its forward pass, those too that the layer keeps for its backward pass."""
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    whole = adapted("fp32", "cpu")
    take_lean_layers(whole)
    sharded: Any = copy.deepcopy(whole)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        fully_shard(sharded[0], mesh=init_device_mesh("cpu", (1,)), reshard_after_forward=True)
        x = torch.randn(3, 7, INPUTS)
        expected = [gradient for _, *gradients in [results(whole, x)] for gradient in gradients]
        with torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(2)
            output = sharded(x.requires_grad_())
        assert isinstance(sharded[0].lora_A["default"].weight, DTensor)
        torch.manual_seed(3)
        (output.float() * torch.randn(output.shape)).sum().backward()
        found = [x.grad, *(p.grad.full_tensor() for name, p in sharded.named_parameters() if "lora_" in name)]
    finally:
        dist.destroy_process_group()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
