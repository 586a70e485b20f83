"""RoAd's and HRA's layers compute what PEFT's do, for every variant and rank."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import HRAConfig, RoadConfig
from peft.tuners.hra.layer import HRALinear
from peft.tuners.road.layer import Linear as RoAdLinear
from torch import Tensor, nn

from peft_lightning.methods.rotations import LeanHRA, LeanRoAd

INPUTS, OUTPUTS = 32, 24


def results(layer: Any, cls: type[nn.Module], shape: tuple[int, ...], names: tuple[str, ...]) -> list[Tensor]:
    """The layer's outputs and the gradients of its inputs and of its weights, as a layer of a class."""
    layer.__class__ = cls
    torch.manual_seed(1)
    x = torch.randn(*shape, INPUTS, dtype=torch.float64, requires_grad=True)
    outputs = layer(x)
    loss = (outputs * torch.randn(*shape, OUTPUTS, dtype=torch.float64)).sum()
    return [outputs, *torch.autograd.grad(loss, [x, *(getattr(layer, name)["default"] for name in names)])]


@pytest.mark.parametrize("shape", [(3, 5), (4,), (2, 0)])
@pytest.mark.parametrize("group_size", [2, 8, 24])
@pytest.mark.parametrize("variant", ["road_1", "road_2", "road_4"])
def test_pairs_are_rotated_as_peft_rotates_them(variant: Any, group_size: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = RoadConfig(variant=variant, group_size=group_size, init_weights=False)
    layer = RoAdLinear(nn.Linear(INPUTS, OUTPUTS), "default", config).double()
    weights = ("road_theta", "road_alpha")
    for ours, theirs in zip(
        results(layer, LeanRoAd, shape, weights), results(layer, RoAdLinear, shape, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_outputs_in_16_bits_are_rotated_in_32_and_rounded_once() -> None:
    torch.manual_seed(0)
    config = RoadConfig(variant="road_2", group_size=8, init_weights=False)
    layer = RoAdLinear(nn.Linear(INPUTS, OUTPUTS), "default", config)
    x = torch.randn(7, INPUTS)
    gradients = []
    answers = []
    for cls in (LeanRoAd, RoAdLinear):
        layer.__class__ = cls
        with torch.autocast("cpu", torch.bfloat16):
            answers.append(layer(x))
        gradients.append(torch.autograd.grad(answers[-1].float().square().sum(), list(layer.road_theta.parameters())))
    assert answers[0].dtype == torch.bfloat16
    assert torch.equal(*answers)
    torch.testing.assert_close(*gradients)


def test_a_compiled_layer_is_one_graph_and_rotates_the_same() -> None:
    torch.manual_seed(0)
    config = RoadConfig(variant="road_2", group_size=8, init_weights=False)
    layer = RoAdLinear(nn.Linear(INPUTS, OUTPUTS), "default", config)
    layer.__class__ = LeanRoAd
    x = torch.randn(7, INPUTS)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("shape", [(3, 5), (4,)])
@pytest.mark.parametrize("rank", [1, 2, 5, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.filterwarnings("ignore:The symmetric initialization")
def test_inputs_are_reflected_as_peft_reflects_weights(symmetric: bool, rank: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = HRAConfig(r=rank, init_weights=symmetric)
    layer = HRALinear(nn.Linear(INPUTS, OUTPUTS), "default", r=rank, config=config).double()
    for ours, theirs in zip(
        results(layer, LeanHRA, shape, ("hra_u",)), results(layer, HRALinear, shape, ("hra_u",)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_orthogonalised_vectors_reflect_as_in_peft() -> None:
    torch.manual_seed(0)
    config = HRAConfig(r=4, apply_GS=True, init_weights=False)
    layer = HRALinear(nn.Linear(INPUTS, OUTPUTS), "default", r=4, config=config)
    layer.hra_u["default"].data.normal_()
    x = torch.randn(7, INPUTS)
    theirs = layer(x)
    layer.__class__ = LeanHRA
    assert torch.equal(layer(x), theirs)


def test_inputs_and_a_weight_in_16_bits_go_with_vectors_in_32() -> None:
    torch.manual_seed(0)
    layer = HRALinear(nn.Linear(INPUTS, OUTPUTS), "default", r=4, config=HRAConfig(r=4, init_weights=False))
    layer.base_layer.bfloat16()
    x = torch.randn(7, INPUTS, dtype=torch.bfloat16)
    theirs = layer(x)
    layer.__class__ = LeanHRA
    ours = layer(x)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
