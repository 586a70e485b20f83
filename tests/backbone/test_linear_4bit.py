"""Layers in four bits that are unpacked in pieces compute what bitsandbytes' own layers do, in less memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from torch import Tensor, nn

from peft_lightning.backbone import linear_4bit
from peft_lightning.backbone.linear_4bit import PiecewiseLinear4bit, unpack_in_pieces
from tests.engine.captured_runs import CUDA

INPUTS, OUTPUTS = 64, 50
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts a weight of 64 × 50 into four pieces."""
    monkeypatch.setattr(linear_4bit, "_PIECE", 2 * INPUTS * OUTPUTS // 4 + 1)
    monkeypatch.setattr(linear_4bit, "_FEWEST_COLUMNS", OUTPUTS // 4)
    monkeypatch.setattr(linear_4bit, "_FEWEST_ROWS", 8)


def quantised(device: str, bias: bool = True, nested: bool = True, kind: str = "nf4") -> Linear4bit:
    torch.manual_seed(0)
    layer = Linear4bit(
        INPUTS, OUTPUTS, bias, compute_dtype=torch.float32, compress_statistics=nested, quant_type=kind
    ).requires_grad_(False)
    return layer.to(device)  # which quantises it


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    outputs = layer(x)
    torch.manual_seed(1)
    slope = torch.randn(outputs.shape, device=x.device, dtype=outputs.dtype)
    return [outputs.detach(), *torch.autograd.grad(outputs, x, slope)]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_in_pieces_computes_what_a_whole_one_does(bias: bool, nested: bool, kind: str, device: str) -> None:
    whole = quantised(device, bias, nested, kind)
    model = nn.Sequential(copy.deepcopy(whole))
    unpack_in_pieces(model)
    assert type(model[0]) is PiecewiseLinear4bit
    x = torch.randn(3, 7, INPUTS, device=device)
    for ours, theirs in zip(results(model, x), results(whole, x), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("in_pieces")
def test_pieces_join_to_the_weight_that_bitsandbytes_unpacks() -> None:
    weight: Any = quantised("cpu").weight
    pieces = [piece.clone() for *_, piece in linear_4bit._unpacked(weight, weight.quant_state, torch.float32, pieces=4)]
    assert len(pieces) == 4
    assert torch.equal(torch.cat(pieces), dequantize_4bit(weight, weight.quant_state))


@pytest.mark.usefixtures("in_pieces")
def test_no_more_than_a_piece_is_unpacked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def watched(packed: Tensor, state: Any) -> Tensor:
        sizes.append(state.shape.numel())
        return dequantize_4bit(packed, state)

    monkeypatch.setattr(linear_4bit, "dequantize_4bit", watched)
    model = nn.Sequential(quantised("cpu"))
    unpack_in_pieces(model)
    results(model, torch.randn(3, 7, INPUTS))
    assert max(sizes) <= INPUTS * 13
    assert sum(sizes) == 2 * INPUTS * OUTPUTS  # once forward, once backward


@pytest.mark.usefixtures("in_pieces")
def test_few_rows_are_multiplied_as_bitsandbytes_does() -> None:
    whole = quantised("cpu")
    model = nn.Sequential(copy.deepcopy(whole))
    unpack_in_pieces(model)
    x = torch.randn(2, 4, INPUTS)
    for ours, theirs in zip(results(model, x), results(whole, x), strict=True):
        assert torch.equal(ours, theirs)


def test_small_layers_and_rows_that_are_no_whole_blocks_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(quantised("cpu"))
    unpack_in_pieces(model)
    assert type(model[0]) is Linear4bit
    monkeypatch.setattr(linear_4bit, "_PIECE", 1000)
    unpack_in_pieces(model)
    assert type(model[0]) is Linear4bit  # its pieces would have too few columns
    monkeypatch.setattr(linear_4bit, "_FEWEST_COLUMNS", 10)
    odd = nn.Sequential(Linear4bit(40, 50, quant_type="nf4").to("cpu"))
    unpack_in_pieces(odd)
    assert type(odd[0]) is Linear4bit
    unpack_in_pieces(model)
    assert type(model[0]) is PiecewiseLinear4bit


@pytest.mark.usefixtures("in_pieces")
def test_a_layer_in_pieces_saves_and_loads_as_bitsandbytes_does() -> None:
    whole = quantised("cpu")
    model = nn.Sequential(copy.deepcopy(whole))
    unpack_in_pieces(model)
    for name, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[f"0.{name}"], value)
