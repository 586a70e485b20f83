from __future__ import annotations

import copy
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from torch import nn

from peft_lightning.backbone.scales_4bit import unpack_scales
from peft_lightning.methods.parameters import stored_bytes


def quantised(double: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [Linear4bit(128, 64, compress_statistics=double, quant_type="nf4") for _ in range(2)]
    return nn.Sequential(*layers).to("cpu")  # which quantises them


def weights(model: nn.Sequential) -> list[Any]:
    """The packed weights, which are more than a layer's type says."""
    return [layer.weight for layer in model]


def scales(model: nn.Sequential) -> list[torch.Tensor]:
    return [weight.quant_state.absmax for weight in weights(model)]


def test_weights_and_gradients_are_the_same_bits_and_no_scale_is_unpacked_again() -> None:
    packed = quantised()
    unpacked = copy.deepcopy(packed)
    assert unpack_scales(unpacked)
    assert not unpack_scales(unpacked)
    for one, other in zip(weights(packed), weights(unpacked), strict=True):
        assert one.quant_state.nested
        assert not other.quant_state.nested
        assert torch.equal(*(dequantize_4bit(weight.data, weight.quant_state) for weight in (one, other)))
    results: list[Any] = []
    for model in (packed, unpacked):
        given = torch.randn(3, 128, generator=torch.Generator().manual_seed(2)).requires_grad_()
        model[0](given).square().sum().backward()
        results.append(given.grad)
    assert torch.equal(*results)
    # 128 scales a layer, 3 bytes more each; the table of 256 values and the offset are gone.
    more = [stored_bytes(b) - stored_bytes(a) for a, b in zip(weights(packed), weights(unpacked), strict=True)]
    table = weights(packed)[0].quant_state.state2
    kept = sum(part.numel() * part.element_size() for part in (table.absmax, table.code)) + 4
    assert more == [3 * 128 - kept] * 2


def test_too_many_stay_as_they_are() -> None:
    model = quantised()
    assert not unpack_scales(model, most_bytes=2 * 3 * 128 - 1)
    assert [one.dtype for one in scales(model)] == [torch.uint8] * 2
    assert unpack_scales(model, most_bytes=2 * 3 * 128)
    assert [one.dtype for one in scales(model)] == [torch.float32] * 2


def test_scales_that_are_quantised_once_are_left_alone() -> None:
    model = quantised(double=False)
    before = [one.clone() for one in scales(model)]
    assert not unpack_scales(model)
    assert all(torch.equal(a, b) for a, b in zip(scales(model), before, strict=True))


def test_layers_that_are_not_quantised_yet_are_left_alone() -> None:
    assert not unpack_scales(nn.Sequential(Linear4bit(128, 64)))
