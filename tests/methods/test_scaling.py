from __future__ import annotations

import pytest
import torch
from peft import IA3Config, inject_adapter_in_model
from torch import nn

from peft_lightning.methods.scaling import NarrowScaling, narrow_scaling


@pytest.mark.parametrize("feedforward", [[], ["dense"]], ids=["output", "input"])
def test_it_scales_as_peft_does_and_keeps_the_activation_in_bf16(feedforward: list[str]) -> None:
    results = []
    kept: list[torch.Tensor] = []
    for narrow in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential()
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
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            output = model(given)
        output.float().square().sum().backward()
        results.append((output, given.grad, scale.grad))
    # The scale itself is kept in 32 bits; nothing as large as an activation is.
    assert all(tensor.dtype == torch.bfloat16 for tensor in kept if tensor.numel() >= given.numel())
    (output, of_input, of_scale), (narrow_output, narrow_of_input, narrow_of_scale) = results
    assert torch.equal(output, narrow_output)
    assert torch.equal(of_input, narrow_of_input)
    assert torch.allclose(of_scale, narrow_of_scale, rtol=1e-2, atol=1e-2)
