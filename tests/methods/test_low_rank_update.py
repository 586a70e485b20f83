"""LoRA's lean layers compute what PEFT's own do, and keep less for the backward pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from peft_lightning.backbone.computed_again import with_recipe
from peft_lightning.backbone.decoder_layers import take_narrow_layers
from peft_lightning.engine.graph_recorder import GraphRecorder
from peft_lightning.methods import low_rank_update
from peft_lightning.methods.lean_lora import LeanLoRA, LeanLoRA4bit, take_lean_layers
from peft_lightning.methods.low_rank_update import _Update
from tests.engine.captured_runs import CUDA

INPUTS, OUTPUTS, RANK = 64, 48, 4
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def base(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "nf4":
        return Linear4bit(INPUTS, OUTPUTS, compute_dtype=torch.bfloat16, quant_type="nf4")
    if kind == "int8":
        return Linear8bitLt(INPUTS, OUTPUTS, has_fp16_weights=False)
    return nn.Linear(INPUTS, OUTPUTS).to(torch.bfloat16 if kind == "bf16" else torch.float32)


def adapted(kind: str, device: str, **settings: Any) -> nn.Sequential:
    """A layer with PEFT's own LoRA layer around it, both of its weights at random."""
    config = LoraConfig(r=RANK, lora_alpha=8, target_modules=["0"], init_lora_weights=False, **settings)
    model = nn.Sequential(base(kind).requires_grad_(False)).to(device)
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = kind == "nf4", kind == "int8"  # type: ignore[assignment]
    torch.manual_seed(1)
    inject_adapter_in_model(config, model)
    model.to(device)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return model


def results(model: nn.Module, given: Tensor, seed: int = 2) -> list[Tensor]:
    """Outputs, and the gradients of inputs and weights, of a training step in bf16."""
    torch.manual_seed(seed)
    x = given.clone().requires_grad_()
    with torch.autocast(given.device.type, torch.bfloat16):
        output = model(x)
    torch.manual_seed(seed + 1)
    loss = (output.float() * torch.randn(output.shape, device=output.device)).sum()
    weights = [p for name, p in model.named_parameters() if "lora_" in name]
    return [output, *torch.autograd.grad(loss, [x, *weights])]


def distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


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


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_drawn_again_is_what_was_drawn(device: str) -> None:
    """A wide layer's gradients under dropout are those of a narrow one, which keeps its mask."""
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, device=device) for shape in ((5, 6, OUTPUTS), (5, 6, INPUTS), (RANK, INPUTS))]
    outputs, x, down, up = *tensors, torch.randn(OUTPUTS, RANK, device=device)
    found = []
    for wide in (0, 10**9):
        leaves = [tensor.bfloat16().requires_grad_() for tensor in (outputs, x)]
        leaves += [tensor.clone().requires_grad_() for tensor in (down, up)]
        torch.manual_seed(7)
        before, low_rank_update._WIDE = low_rank_update._WIDE, wide
        try:
            result = _Update.apply(*leaves, 2.0, 0.3)
        finally:
            low_rank_update._WIDE = before
        torch.randn(1000, device=device)  # others draw before the backward pass
        state = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
        found.append([result, *torch.autograd.grad(result.float().square().sum(), leaves)])
        # and draw afterwards as if nothing had been drawn again
        assert torch.equal(state, torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state())
    for again, held in zip(*found, strict=True):
        assert torch.equal(again, held)
    assert (found[0][2] == 0).float().mean() > 0.2  # of the inputs some were dropped


@pytest.mark.parametrize("wide", [True, False])
def test_gradients_are_the_slopes(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    torch.manual_seed(0)
    shapes = (2, 3, 7), (2, 3, 8), (RANK, 8), (7, RANK)
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def dropped(*leaves: Tensor) -> Tensor:
        torch.manual_seed(5)
        result: Tensor = _Update.apply(*leaves, 1.7, 0.4)
        return result

    assert torch.autograd.gradcheck(dropped, given)


def test_activations_that_are_computed_again_have_the_masks_of_those_that_are_kept() -> None:
    """Checkpointing runs the forward pass again, with its masks, and a wide layer draws them once more after it."""
    found = []
    before = low_rank_update._WIDE
    try:
        for low_rank_update._WIDE, again in ((10**9, False), (0, True)):
            torch.manual_seed(0)
            x = torch.randn(5, 6, INPUTS).bfloat16().requires_grad_()
            down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(INPUTS, RANK, requires_grad=True)

            def layer(given: Tensor, down: Tensor = down, up: Tensor = up) -> Tensor:
                made = with_recipe(F.silu(given), F.silu, given)
                return F.dropout(given + _Update.apply(made, made, down, up, 1.5, 0.3), 0.1)

            states = x
            for _ in range(2):
                states = checkpoint(layer, states, use_reentrant=False) if again else layer(states)
            gradients = torch.autograd.grad(states.float().square().sum(), [x, down, up])
            found.append([states, *gradients, torch.get_rng_state()])
    finally:
        low_rank_update._WIDE = before
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def kept_bytes(x: Tensor, wide: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(low_rank_update, "_WIDE", wide)
    outputs, down, up = torch.zeros(512, OUTPUTS, dtype=x.dtype), torch.randn(RANK, INPUTS), torch.randn(OUTPUTS, RANK)
    leaves = [tensor.requires_grad_() for tensor in (outputs, down, up)]
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = _Update.apply(leaves[0], x, leaves[1], leaves[2], 1.0, 0.1)
    del result
    return sum(sizes.values())


def test_a_wide_layer_keeps_its_rank_alone_beside_inputs_that_are_kept_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.randn(512, INPUTS).bfloat16()
    made = with_recipe(F.silu(source), F.silu, source)
    weights, hidden, mask = 4 * RANK * (INPUTS + OUTPUTS), 512 * RANK * 2, source.numel()
    assert kept_bytes(made, 0, monkeypatch) == hidden + weights + source.nbytes
    assert kept_bytes(made, 10**9, monkeypatch) == hidden + weights // 2 + source.nbytes + mask
    assert kept_bytes(F.silu(source), 0, monkeypatch) == hidden + weights + source.nbytes


def test_inputs_that_are_made_again_give_the_gradients_of_those_that_are_kept() -> None:
    torch.manual_seed(0)
    source = torch.randn(5, 6, INPUTS).bfloat16()
    found = []
    before, low_rank_update._WIDE = low_rank_update._WIDE, 0
    try:
        for says in (True, False):
            torch.manual_seed(3)
            leaves = [torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)]
            given = source.clone().requires_grad_()
            x = F.silu(given)
            x = with_recipe(x, F.silu, given) if says else x
            result = _Update.apply(torch.zeros(5, 6, OUTPUTS).bfloat16(), x, *leaves, 2.0, 0.1)
            found.append(torch.autograd.grad(result.float().square().sum(), [given, *leaves]))
    finally:
        low_rank_update._WIDE = before
    for again, held in zip(*found, strict=True):
        assert torch.equal(again, held)


def test_inputs_are_made_again_outside_autocast_where_the_backward_pass_is_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0)
    widened: list[bool] = []

    def made(source: Tensor) -> Tensor:
        widened.append(torch.is_autocast_enabled("cpu"))
        return F.silu(source)

    source = torch.randn(5, INPUTS).bfloat16()
    down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        x = with_recipe(F.silu(source), made, source)
        result = _Update.apply(torch.zeros(5, OUTPUTS).bfloat16(), x, down, up, 2.0, 0.0)
        torch.autograd.grad(result.sum(), down)
    assert widened == [False]


@pytest.mark.parametrize("wide", [True, False])
def test_where_all_inputs_are_dropped_nothing_is_learned(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    x, outputs = torch.randn(5, INPUTS).bfloat16().requires_grad_(), torch.randn(5, OUTPUTS).bfloat16()
    down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)
    result = _Update.apply(outputs, x, down, up, 2.0, 1.0)
    assert torch.equal(result, outputs)
    assert not any(bool(gradient.any()) for gradient in torch.autograd.grad(result.sum(), [x, down, up]))


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
