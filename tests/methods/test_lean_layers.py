"""Layers with fewer kernels than PEFT's compute what PEFT's compute, in every state, and leave the same files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods import PEFT
from peft_lightning.methods.circular_convolution import LeanC3A
from peft_lightning.methods.rotations import LeanHRA, LeanRoAd
from peft_lightning.methods.singular_triplets import LeanSVD
from tests.methods.test_contract import LABELS, WIDTH, GetBackbone, logits
from tests.methods.test_peft_types import adapted, train
from tests.methods.tiny_backbones import batch

LEAN: dict[str, type[BaseTunerLayer]] = {"ADALORA": LeanSVD, "C3A": LeanC3A, "HRA": LeanHRA, "ROAD": LeanRoAd}
# Scores are of the order of 0.1. Merged weights are rounded once more, RoAd's inverted to unmerge them.
ROUNDING = 1e-6


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


@pytest.fixture(params=sorted(LEAN))
def trained(request: pytest.FixtureRequest, backbone: Backbone) -> tuple[PEFT, Any]:
    """A model of each type after a few steps, so that its adapters do something."""
    method, model = adapted(request.param, backbone)
    train(method, model)
    assert lean_layers(model), "no layer was replaced"
    assert all(type(layer) is LEAN[request.param] for layer in lean_layers(model))
    return method, model


def lean_layers(model: nn.Module) -> list[Any]:
    return [layer for layer in model.modules() if isinstance(layer, tuple(LEAN.values()))]


def with_peft_s_layers(model: nn.Module) -> Any:
    """A copy whose layers are of PEFT's own classes."""
    own = copy.deepcopy(model)
    for layer in lean_layers(own):
        layer.__class__ = type(layer).__mro__[1]
    assert not lean_layers(own)
    return own


def test_a_trained_model_answers_as_with_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    base = with_peft_s_layers(model)
    with base.disable_adapter():
        unadapted = logits(base)
    assert (logits(model) - unadapted).abs().max() > 100 * ROUNDING, "the adapters do nothing"
    torch.testing.assert_close(logits(model), logits(base), rtol=0, atol=ROUNDING)


def test_gradients_are_those_of_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    gradients = []
    for each in (model, with_peft_s_layers(model)):
        each.zero_grad()
        torch.manual_seed(3)
        nn.functional.cross_entropy(each.train()(**batch()).logits, LABELS).backward()
        gradients.append({name: p.grad for name, p in each.named_parameters() if p.requires_grad})
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    if isinstance(lean_layers(model)[0], LeanC3A):
        # What PEFT's backward pass hands on to the layers below is no gradient: test_circular_convolution.py.
        last = max(name for name in ours if "c3a_kernel" in name)
        ours, theirs = ({last: each[last]} for each in (ours, theirs))
    for name, gradient in ours.items():
        assert gradient is not None
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=ROUNDING, msg=name)


def test_disabled_merged_and_unmerged_it_answers_as_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    own = with_peft_s_layers(model)
    enabled = logits(model)
    with model.disable_adapter(), own.disable_adapter():
        assert torch.equal(logits(model), logits(own))
    for layer in lean_layers(model):
        layer.merge()
    torch.testing.assert_close(logits(model), enabled, rtol=0, atol=ROUNDING)
    for layer in lean_layers(model):
        layer.unmerge()
    torch.testing.assert_close(logits(model), enabled, rtol=0, atol=5 * ROUNDING)


def test_the_adapter_s_folder_answers_the_same_in_plain_peft(
    trained: tuple[PEFT, Any], backbone: Backbone, tmp_path: Path
) -> None:
    method, model = trained
    method.save_adapter(model, tmp_path, lambda: model)
    loaded = PeftModel.from_pretrained(backbone.load(num_labels=3), str(tmp_path))
    assert not lean_layers(loaded)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=ROUNDING)


def test_with_a_second_adapter_it_answers_as_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    if isinstance(lean_layers(model)[0], LeanSVD):
        pytest.skip("PEFT trains one AdaLoRA adapter at a time")
    torch.manual_seed(7)
    model.add_adapter("second", copy.deepcopy(model.peft_config["default"]))
    for layer in lean_layers(model):
        for name in layer.adapter_layer_names:
            second = getattr(layer, name)["second"]
            second.data.add_(torch.randn_like(second), alpha=0.1)
    one = logits(model)
    for layer in lean_layers(model):
        layer.set_adapter(["default", "second"])
    both = logits(model)
    assert (both - one).abs().max() > 10 * ROUNDING, "the second adapter does nothing"
    torch.testing.assert_close(both, logits(with_peft_s_layers(model)), rtol=0, atol=ROUNDING)


def test_in_16_bits_it_is_as_near_to_the_exact_answer_as_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    exact = logits(copy.deepcopy(model).double())
    errors = []
    for each in (model, with_peft_s_layers(model)):
        with torch.autocast("cpu", torch.bfloat16):
            errors.append((logits(each) - exact).abs().max().item())
    ours, theirs = errors
    assert ours <= 2 * theirs + 1e-3


def test_a_step_takes_fewer_operations_than_with_peft_s_layers(trained: tuple[PEFT, Any]) -> None:
    _, model = trained
    ours, theirs = (operations_of_a_step(each) for each in (model, with_peft_s_layers(model)))
    # Of two layers each; what remains is the same in both.
    assert ours < theirs


def operations_of_a_step(model: Any) -> int:
    with _Operations() as operations, torch.autocast("cpu", torch.bfloat16):
        nn.functional.cross_entropy(model.train()(**batch()).logits, LABELS).backward()
    return int(operations.number)


class _Operations(TorchDispatchMode):
    """Counts the operations that compute something; views and fresh memory are none."""

    number: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        held = {tensor.untyped_storage()._cdata for tensor in _tensors(args)}
        views = isinstance(result, Tensor) and result.untyped_storage()._cdata in held and not func._schema.is_mutable
        self.number += not views and "empty" not in func.overloadpacket.__name__
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
