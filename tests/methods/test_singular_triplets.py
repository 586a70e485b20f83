"""AdaLoRA's layer computes what PEFT's does, with dropout and with ranks dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import AdaLoraConfig
from peft.tuners.adalora.layer import SVDLinear
from torch import Tensor, nn

from peft_lightning.methods.singular_triplets import LeanSVD

INPUTS, OUTPUTS = 32, 24


def results(layer: Any, cls: type[nn.Module]) -> list[Tensor]:
    layer.__class__ = cls
    torch.manual_seed(1)
    x = torch.randn(3, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    outputs = layer(x)
    weights = [getattr(layer, name)["default"] for name in ("lora_A", "lora_B", "lora_E")]
    return [outputs, *torch.autograd.grad((outputs * torch.randn_like(outputs)).sum(), [x, *weights])]


@pytest.mark.parametrize(("dropout", "alpha"), [(0.0, 16), (0.3, 16), (0.0, 0)])
def test_answers_and_gradients_are_peft_s(dropout: float, alpha: int) -> None:
    torch.manual_seed(0)
    config = AdaLoraConfig(init_r=4, lora_alpha=alpha, lora_dropout=dropout, total_step=10)
    layer = SVDLinear(nn.Linear(INPUTS, OUTPUTS), "default", config=config, r=4, lora_alpha=alpha).double()
    layer.lora_E["default"].data.normal_()
    layer.lora_E["default"].data[1] = 0.0  # a rank that was dropped
    for ours, theirs in zip(results(layer, LeanSVD), results(layer, SVDLinear), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
