"""Beside weights in four or eight bits lean layers compute what PEFT's own do, and keep no more than beside bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel
from torch import Tensor, nn

from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.methods import IA3, PEFT, IA3LoRA, LoRA, Method
from peft_lightning.methods.packed_layers import LEAN, NARROW
from peft_lightning.methods.parameters import trainable_names
from peft_lightning.methods.peft_types import NOT_QUANTISED, classifying_types
from tests.methods.test_contract import LABELS, WIDTH, GetBackbone, logits
from tests.methods.test_lean_layers import ROUNDING, operations_of_a_step
from tests.methods.test_peft_types import ARGUMENTS
from tests.methods.tiny_backbones import batch
from tests.samples import mostly_slow

METHODS: dict[str, Callable[[], Method]] = {
    "adalora": lambda: PEFT({"peft_type": "ADALORA", **ARGUMENTS["ADALORA"]}, adapter_seed=0),
    "road": lambda: PEFT({"peft_type": "ROAD"}, adapter_seed=0),
    "hira": lambda: PEFT({"peft_type": "HIRA"}, adapter_seed=0),
    "dora": lambda: LoRA(use_dora=True, lora_dropout=0.2),
    "dora without dropout": lambda: LoRA(use_dora=True, lora_dropout=0.0),
    "dora of PEFT's": lambda: PEFT({"peft_type": "LORA", "use_dora": True, "lora_dropout": 0.2}, adapter_seed=0),
    "ia3": IA3,
    "ia3_lora": IA3LoRA,
}
PACKED = {lean: own for own, lean in (LEAN | NARROW).items()}
IN_FLOATS = ["adalora", "road", "hira", "dora", "dora of PEFT's"]
BITS = mostly_slow(["nf4", "int8"], fast=["nf4"])
NAMES = mostly_slow(METHODS, fast=["adalora", "road", "hira", "dora", "ia3"])


def made(name: str, backbone: Backbone, bits: Any = None, checkpointing: bool = False) -> tuple[Method, Any]:
    """A model whose adapters do something, the same in every precision."""
    torch.manual_seed(0)
    method = METHODS[name]()
    pretrained = method.load_backbone(replace(backbone, quantisation=bits and Quantisation(bits)), num_labels=3)
    if checkpointing:
        recompute_activations(pretrained)
    model = method.adapt(pretrained)
    noise = torch.Generator().manual_seed(1)
    names = set(trainable_names(model))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key in names:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    # IA3 beside floats in 32 bits is left to PEFT.
    assert bool(lean_layers(model)) == (bits is not None and (backbone.dtype == "bfloat16" or "ia3" not in name))
    return method, model


def lean_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if type(module) in PACKED]


@contextmanager
def peft_s_layers(model: nn.Module) -> Iterator[None]:
    """PEFT's own classes; layers in eight bits cannot be copied."""
    layers = lean_layers(model)
    classes = [type(layer) for layer in layers]
    for layer in layers:
        layer.__class__ = PACKED[type(layer)]
    yield
    for layer, lean in zip(layers, classes, strict=True):
        layer.__class__ = lean


@contextmanager
def autocast() -> Iterator[None]:
    """Autocast on the CPU; PEFT's packed layers ask for that of a GPU."""
    torch.set_autocast_enabled("cuda", True)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_autocast_enabled("cuda", False)


def outputs_and_gradients(layer: Any, x: Tensor) -> dict[str, Tensor]:
    layer.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    outputs = layer.train()(x)
    weighted = outputs.float() * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4))
    weighted.sum().backward()
    gradients = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {"outputs": outputs.detach(), "inputs": x.grad, **gradients}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["adalora", "road", "hira"])
def test_each_layer_computes_what_peft_s_does(name: str, bits: str, tiny_backbone: GetBackbone) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH), bits)
    for layer in lean_layers(model):
        x = torch.randn(3, 5, layer.in_features, generator=torch.Generator().manual_seed(2))
        ours = outputs_and_gradients(layer, x)
        with peft_s_layers(layer):
            theirs = outputs_and_gradients(layer, x)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-5, atol=1e-5, msg=f"{key} of {layer}")


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_in_16_bits_each_layer_rounds_and_keeps_the_type_of_a_plain_one(
    name: str, bits: str, tiny_backbone: GetBackbone
) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH, dtype="bfloat16"), bits)
    for layer in [layer for layer in lean_layers(model) if hasattr(layer, "base_layer")]:
        x = torch.randn(3, 5, layer.in_features, generator=torch.Generator().manual_seed(2))
        results = []
        for inputs in (x, x.bfloat16()):
            with autocast():
                ours = outputs_and_gradients(layer, inputs)
                with peft_s_layers(layer):
                    theirs = outputs_and_gradients(layer, inputs)
            assert ours["outputs"].dtype == torch.bfloat16
            for key, value in ours.items():
                largest = float(theirs[key].abs().max())
                torch.testing.assert_close(
                    value.float(), theirs[key].float(), rtol=0.02, atol=0.02 * largest, msg=f"{key} of {layer}"
                )
            results.append(ours["outputs"])
        assert torch.equal(*results), "32 bits of inputs are cast as autocast casts them"


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_in_16_bits_gradients_are_as_near_to_the_exact_ones_as_with_peft_s_layers(
    name: str, bits: str, tiny_backbone: GetBackbone
) -> None:
    exact = gradients_of(made(name, tiny_backbone(width=WIDTH), bits)[1])
    _, model = made(name, tiny_backbone(width=WIDTH, dtype="bfloat16"), bits)
    with autocast():
        ours = distance(gradients_of(model), exact)
        with peft_s_layers(model):
            theirs = distance(gradients_of(model), exact)
    assert 0 < ours <= 1.2 * theirs


def distance(gradients: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    ours, theirs = (torch.cat([each[key].flatten() for key in exact]) for each in (gradients, exact))
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", IN_FLOATS)
def test_gradients_are_those_of_peft_s_layers(
    name: str, bits: str, checkpointing: bool, tiny_backbone: GetBackbone
) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH), bits, checkpointing)
    ours = gradients_of(model)
    with peft_s_layers(model):
        theirs = gradients_of(model)
    assert ours.keys() == theirs.keys() == set(trainable_names(model))
    for key, gradient in ours.items():
        # Eight bits round activations anew in each layer, and a value on the edge goes either way.
        loose = 1e-2 * float(gradient.abs().max()) if bits == "int8" else ROUNDING
        torch.testing.assert_close(gradient, theirs[key], rtol=1e-3, atol=loose, msg=key)


def gradients_of(model: Any) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(3)
    nn.functional.cross_entropy(model.train()(**batch()).logits, LABELS).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_recomputed_activations_give_the_same_gradients_in_16_bits(
    name: str, bits: str, tiny_backbone: GetBackbone
) -> None:
    backbone = tiny_backbone(width=WIDTH, dtype="bfloat16")
    found = []
    for checkpointing in (False, True):
        _, model = made(name, backbone, bits, checkpointing)
        with autocast():
            found.append(gradients_of(model))
    plain, recomputed = found
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[key], recomputed[key]) for key in plain)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_no_more_is_kept_for_the_backward_pass_than_beside_bf16(
    name: str, bits: str, tiny_backbone: GetBackbone
) -> None:
    backbone = tiny_backbone(width=WIDTH, dtype="bfloat16")
    assert kept_by(made(name, backbone, bits)[1]) <= kept_by(made(name, backbone)[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kind for kind in classifying_types() if kind not in {*NOT_QUANTISED["nf4"], "ADAMSS"}]
)
def test_no_type_of_peft_keeps_more_beside_four_bits_than_beside_bf16(kind: str, tiny_backbone: GetBackbone) -> None:
    """Those without layers here too: a new release of PEFT may unpack where the last one did not."""
    on = tiny_backbone(width=WIDTH, dtype="bfloat16")
    kept = []
    for bits in (Quantisation("nf4"), None):
        method = PEFT({"peft_type": kind, **ARGUMENTS.get(kind, {})}, adapter_seed=0)
        kept.append(kept_by(method.adapt(method.load_backbone(replace(on, quantisation=bits), num_labels=3))))
    assert kept[0] <= kept[1]


def kept_by(model: Any) -> int:
    """The bytes that autograd keeps for the backward pass, without the model's own."""
    own = {parameter.untyped_storage().data_ptr() for parameter in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(saved: Tensor) -> Tensor:
        if saved.layout == torch.strided:
            kept[saved.untyped_storage().data_ptr()] = saved
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved), autocast():
        scores = model.train()(**batch()).logits
    assert scores.requires_grad
    return sum(saved.untyped_storage().nbytes() for place, saved in kept.items() if place not in own)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["adalora", "road", "ia3", "ia3_lora"])
def test_a_step_takes_fewer_operations_than_with_peft_s_layers(
    name: str, bits: str, tiny_backbone: GetBackbone
) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH, dtype="bfloat16"), bits)
    with autocast():
        ours = operations_of_a_step(model)
        with peft_s_layers(model):
            theirs = operations_of_a_step(model)
    # Of two layers each; what remains is the same in both.
    assert ours < theirs


@pytest.mark.parametrize("name", mostly_slow(["adalora", "road", "hira", "dora", "ia3"], fast=["hira"]))
def test_a_compiled_layer_on_four_bits_is_one_graph_and_computes_the_same(
    name: str, tiny_backbone: GetBackbone
) -> None:
    """Compiled, PEFT's own HiRA calls itself until the stack is full."""
    _, model = made(name, tiny_backbone(width=WIDTH, dtype="bfloat16"), "nf4")
    layer = next(layer for layer in model.modules() if isinstance(getattr(layer, "base_layer", None), Linear4bit))
    x = torch.randn(3, 5, layer.in_features).bfloat16()
    with autocast():
        eager = outputs_and_gradients(layer, x)
        compiled = outputs_and_gradients(torch.compile(layer, backend="aot_eager", fullgraph=True), x)
    for key, value in eager.items():
        found = compiled.get(key, compiled.get(f"_orig_mod.{key}"))
        torch.testing.assert_close(found, value, rtol=0.02, atol=0.02 * float(value.abs().max()), msg=key)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_disabled_it_answers_as_peft_s_layers(name: str, bits: str, tiny_backbone: GetBackbone) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH, dtype="bfloat16"), bits)
    enabled = logits(model)
    with model.disable_adapter():
        ours = logits(model)
        with peft_s_layers(model):
            assert torch.equal(ours, logits(model))
    assert (ours - enabled).abs().max() > 100 * ROUNDING, "the adapters do nothing"


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["road", "hira"])
@pytest.mark.filterwarnings("ignore:.*may get different generations")
def test_merged_and_unmerged_it_answers_as_peft_s_layers(name: str, bits: str, tiny_backbone: GetBackbone) -> None:
    _, model = made(name, tiny_backbone(width=WIDTH), bits)
    apart = logits(model)
    for change in ("merge", "unmerge"):
        for layer in lean_layers(model):
            getattr(layer, change)()
        ours = logits(model)
        with peft_s_layers(model):
            torch.testing.assert_close(ours, logits(model), rtol=0, atol=ROUNDING)
        # Merged weights are rounded to the few values of four or eight bits.
        torch.testing.assert_close(ours, apart, rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ["adalora", "road", "hira", "dora"])
def test_the_adapter_s_folder_answers_the_same_in_plain_peft(
    name: str, tiny_backbone: GetBackbone, tmp_path: Path
) -> None:
    backbone = replace(tiny_backbone(width=WIDTH), quantisation=Quantisation("nf4"))
    method, model = made(name, backbone, "nf4")
    if name == "adalora":
        method.before_training(model, 10)
    method.save_adapter(model, tmp_path, lambda: model)
    loaded = PeftModel.from_pretrained(backbone.load(num_labels=3), str(tmp_path))
    assert not lean_layers(loaded)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=ROUNDING)
