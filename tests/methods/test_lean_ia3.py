from __future__ import annotations

import pytest
import torch
from peft import IA3Config, inject_adapter_in_model
from torch import nn

from peft_lightning.methods.lean_ia3 import NarrowScaling, narrow_scaling


@pytest.mark.parametrize("feedforward", [[], ["dense"]], ids=["output", "input"])
def test_it_scales_as_peft_does_and_keeps_the_activation_in_bf16(feedforward: list[str]) -> None:
    results = []
    kept: list[torch.Tensor] = []

    def keep(saved: torch.Tensor) -> torch.Tensor:
        kept.append(saved)
        return saved

    for narrow in (False, True):
        torch.manual_seed(0)
        model: nn.Module = nn.Sequential()
        model.add_module("dense", nn.Linear(8, 8).to(torch.bfloat16))
        config = IA3Config(target_modules=["dense"], feedforward_modules=feedforward)
        model = inject_adapter_in_model(config, model)
        layer = model.get_submodule("dense")
        scale = layer.get_parameter("ia3_l.default")
        scale.data = torch.linspace(0.5, 1.5, 8).reshape(scale.shape)
        if narrow:
            narrow_scaling(model)
            assert isinstance(layer, NarrowScaling)
        given = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16).requires_grad_()
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            output = model(given)
        output.float().square().sum().backward()
        assert given.grad is not None
        assert scale.grad is not None
        results.append((output, given.grad, scale.grad))
    # The scale itself is kept in 32 bits; nothing as large as an activation is.
    assert all(tensor.dtype == torch.bfloat16 for tensor in kept if tensor.numel() >= given.numel())
    (output, of_input, of_scale), (narrow_output, narrow_of_input, narrow_of_scale) = results
    # The two round once each to 8 bits, at places of their own.
    assert torch.allclose(output, narrow_output, rtol=2**-7, atol=2**-7)
    assert torch.allclose(of_input, narrow_of_input, rtol=2**-6, atol=2**-4)
    assert torch.allclose(of_scale, narrow_of_scale, rtol=1e-2, atol=1e-2)


def test_a_scale_near_1_is_not_rounded_to_the_type_of_the_activation() -> None:
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential()
    model.add_module("dense", nn.Linear(64, 8).to(torch.bfloat16))
    model = inject_adapter_in_model(IA3Config(target_modules=["dense"], feedforward_modules=[]), model)
    narrow_scaling(model)
    scale = model.get_submodule("dense").get_parameter("ia3_l.default")
    given = torch.randn(4096, 64).to(torch.bfloat16)
    scale.data = torch.full(scale.shape, 1.0)
    before = model(given).float()
    # To the nearest, 1.0115 is 1.0078 in bf16; over many values the outputs grow by what it says all the same.
    scale.data = torch.full(scale.shape, 1.0115)
    growth = float((model(given).float() * before).sum() / before.square().sum())
    assert growth == pytest.approx(1.0115, abs=1e-3)
