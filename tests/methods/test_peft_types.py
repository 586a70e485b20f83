"""What every type of PEFT keeps when a configuration alone makes it a method."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest
import torch
from torch import nn

from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Bits, Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import PEFT, capturable_layers
from peft_lightning.methods.parameters import count_parameters, trainable_names
from peft_lightning.methods.peft_types import NOT_QUANTISED, PROMPTS, classifying_types
from tests.methods.test_contract import HEAD, LABELS, WIDTH, GetBackbone, logits
from tests.methods.tiny_backbones import batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What a type needs at this width, or what makes its own part of training happen within a few steps.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ADALORA": {"init_r": 6, "target_r": 3, "tinit": 1, "tfinal": 1},
    "C3A": {"block_size": 16},
    "FROD": {"progressbar": False},
    "P_TUNING": {"num_virtual_tokens": 5},
    "PREFIX_TUNING": {"num_virtual_tokens": 5},
    "PROMPT_TUNING": {"num_virtual_tokens": 5},
    "VBLORA": {"num_vectors": 32, "vector_length": 16},
}
# Weights that each type trains in two layers of width 64 with feed-forwards of 48, at its own defaults or at ARGUMENTS.
ADAPTERS = {
    "ADALORA": 8904,
    "BEFT": 128,
    "BOFT": 1280,
    "C3A": 1024,
    "DEFT": 4096,
    "DELORA": 4100,
    "FOURIERFT": 4000,
    "FROD": 416,
    "GLORA": 10280,
    "GRALORA": 16384,
    "HIRA": 16384,
    "HRA": 2048,
    "IA3": 480,
    "LILY": 16640,
    "LN_TUNING": 640,
    "LOHA": 8192,
    "LOKR": 512,
    "LORA": 4096,
    "MISS": 16384,
    "OFT": 3968,
    "OSF": 43872,
    "PEANUT": 16384,
    "PREFIX_TUNING": 1280,
    "PROMPT_TUNING": 320,
    "PSOFT": 2240,
    "PVERA": 2304,
    "P_TUNING": 12800,
    "RANDLORA": 768,
    "ROAD": 256,
    "SHIRA": 16384,
    "SUPERTUNING": 160,
    "TINYLORA": 256,
    "UNILORA": 256,
    "VBLORA": 4608,
    "VERA": 1280,
    "WAVEFT": 10368,
}
# AdaMSS clusters with scikit-learn, which is no dependency.
NEEDS = {"ADAMSS": "sklearn"}
STEPS = 6
# One of each kind that differs in what it keeps: ranks, frozen draws, a solver, a mask, tokens of its own.
FAST = ("ADALORA", "BOFT", "LORA", "P_TUNING", "SHIRA", "VERA")


def adapted(peft_type: str, backbone: Backbone, seed: int = 0, checkpointing: bool = False) -> tuple[PEFT, nn.Module]:
    torch.manual_seed(seed)
    method = PEFT({"peft_type": peft_type, **ARGUMENTS.get(peft_type, {})})
    pretrained = method.load_backbone(backbone, num_labels=3)
    if checkpointing:
        recompute_activations(pretrained)
    model = method.adapt(pretrained)
    method.before_training(model, STEPS)
    return method, model


def train(method: PEFT, model: nn.Module, steps: int = STEPS) -> list[float]:
    """Trains as the module does, and returns the losses without what the method adds."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    torch.manual_seed(5)  # dropout
    for step in range(1, steps + 1):
        loss = nn.functional.cross_entropy(model.train()(**batch()).logits, LABELS)
        losses.append(loss.item())
        extra = method.extra_loss(model)
        (loss if extra is None else loss + extra).backward()
        optimizer.step()
        method.after_step(model, step)
        optimizer.zero_grad()
    return losses


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


def types() -> list[Any]:
    """Returns the types that are tried: all that are not known to be unable to classify."""
    return [
        pytest.param(
            kind,
            marks=[
                pytest.mark.skipif(
                    kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None,
                    reason=f"{NEEDS.get(kind)} is missing",
                ),
                *([] if kind in FAST else [pytest.mark.slow]),
            ],
        )
        for kind in classifying_types()
    ]


def test_every_type_that_classifies_has_an_exact_count() -> None:
    assert set(classifying_types()) == {*ADAPTERS, *NEEDS}


@pytest.mark.parametrize("peft_type", types())
class TestType:
    def test_training_moves_what_trains_and_nothing_else(self, peft_type: str, backbone: Backbone) -> None:
        method, model = adapted(peft_type, backbone)
        total = sum(parameter.numel() for parameter in backbone.load(num_labels=3).parameters())
        counts = count_parameters(model)
        assert (counts.head, counts.total) == (HEAD, total)
        assert counts.adapter == ADAPTERS.get(peft_type, counts.adapter)
        trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
        # Some types share a tensor between layers: by its other names it is no parameter, but it moves.
        names = {name for name, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in trained}
        before = {name: value.clone() for name, value in model.state_dict().items()}
        losses = train(method, model)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved <= names
        assert {name for name in moved if "classifier" not in name}, "nothing but the head moved"
        # Prompts at their usual start shift the text's positions, and six steps do not make up for that.
        assert losses[-1] < (1.1 if peft_type in PROMPTS else 0.9) * losses[0]

    def test_another_seed_and_the_trained_weights_rebuild_it(self, peft_type: str, backbone: Backbone) -> None:
        method, model = adapted(peft_type, backbone, seed=1)
        train(method, model)
        names = trainable_names(model)
        saved, state = {name: model.state_dict()[name].clone() for name in names}, method.state(model)
        again, _ = adapted(peft_type, backbone, seed=2)
        assert again.rebuilds_for(state)
        rebuilt = again.adapt(again.load_backbone(backbone, num_labels=3))
        assert not rebuilt.load_state_dict(saved, strict=False).unexpected_keys
        again.restore(rebuilt, state)
        assert torch.equal(logits(rebuilt), logits(model))

    def test_gradient_checkpointing_changes_no_gradient(self, peft_type: str, backbone: Backbone) -> None:
        if peft_type in PROMPTS:
            pytest.skip("refused: test_peft.py")
        gradients = []
        for checkpointing in (False, True):
            _, model = adapted(peft_type, backbone, checkpointing=checkpointing)
            torch.manual_seed(3)
            nn.functional.cross_entropy(cast("PreTrainedModel", model.train())(**batch()).logits, LABELS).backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        plain, checkpointed = gradients
        assert plain.keys() == checkpointed.keys() == set(trainable_names(model))
        assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.parametrize(
    ("bits", "peft_type"),
    [
        pytest.param(bits, kind, marks=[] if bits == "nf4" and kind in ("LORA", "VERA") else pytest.mark.slow)
        for bits in get_args(Bits)
        for kind in classifying_types()
        if kind not in NOT_QUANTISED[bits] and kind not in NEEDS
    ],
)
def test_beside_quantised_layers_a_type_starts_and_trains_as_beside_floats(
    bits: Bits, peft_type: str, backbone: Backbone
) -> None:
    def start(on: Backbone) -> tuple[float, float, int]:
        method, model = adapted(peft_type, on)
        torch.manual_seed(0)
        plain = logits(on.load(num_labels=3))
        distance = (logits(model) - plain).abs().max().item()
        return distance, train(method, model)[-1], count_parameters(model).adapter

    moved, loss, adapter = start(backbone)
    moved_beside, loss_beside, adapter_beside = start(replace(backbone, quantisation=Quantisation(bits)))
    # Scores are of the order of 0.1 here. A type that reads packed numbers as weights is off by more than they are.
    assert moved_beside == pytest.approx(moved, abs=5e-3)
    assert loss_beside == pytest.approx(loss, abs=0.07)
    assert adapter_beside == adapter


@pytest.mark.parametrize("bits", get_args(Bits))
def test_a_type_that_needs_floats_is_refused_beside_quantised_layers(bits: Bits, backbone: Backbone) -> None:
    for peft_type in NOT_QUANTISED[bits]:
        method = PEFT({"peft_type": peft_type, **ARGUMENTS.get(peft_type, {})})
        with pytest.raises(UserError, match=f"{peft_type} cannot be put beside layers in {bits} .*LORA.* can"):
            method.load_backbone(replace(backbone, quantisation=Quantisation(bits)), num_labels=3)


@pytest.mark.parametrize("peft_type", ["BOFT", "FOURIERFT", "FROD", "PROMPT_TUNING", "PSOFT", "VBLORA", "WAVEFT"])
def test_a_layer_made_for_capture_computes_what_peft_s_own_does(
    peft_type: str, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, model = adapted(peft_type, backbone)
    names = {type(module).__name__ for module in model.modules()}
    assert any(name.startswith("Capturable") for name in names), "no layer was replaced"
    monkeypatch.setattr(capturable_layers, "make_capturable", lambda model: None)
    other, peft_s_own = adapted(peft_type, backbone)
    # A dense sum has another order than a sparse one.
    rounding = 1e-5 if peft_type == "FROD" else 0.0
    assert train(method, model) == pytest.approx(train(other, peft_s_own), rel=0, abs=rounding)
    torch.testing.assert_close(logits(model), logits(peft_s_own), rtol=0, atol=rounding)


@pytest.mark.parametrize("arguments", [{"wavelet_family": "db4"}, {"wavelet_family": "sym3"}, {"use_idwt": False}])
def test_every_wavelet_s_update_is_peft_s_own(arguments: dict[str, Any], backbone: Backbone) -> None:
    from peft.tuners.waveft.layer import WaveFTLinear

    torch.manual_seed(0)
    method = PEFT({"peft_type": "WAVEFT", "target_modules": ["intermediate.dense"], "init_weights": False, **arguments})
    model = method.adapt(method.load_backbone(backbone, num_labels=3))
    layers = [module for module in model.modules() if isinstance(module, WaveFTLinear)]
    assert layers
    for layer in layers:
        assert type(layer) is capturable_layers.CapturableWaveFT
        assert torch.equal(layer.get_delta_weight("default"), WaveFTLinear.get_delta_weight(layer, "default"))
