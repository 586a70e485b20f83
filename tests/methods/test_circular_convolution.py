"""C3A's layer computes what PEFT's does, and the gradient that PEFT's should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import C3AConfig
from peft.tuners.c3a.layer import C3ALinear
from peft.tuners.c3a.utils import BlockCircularConvolution
from torch import Tensor, nn

from peft_lightning.methods.circular_convolution import LeanC3A

INPUTS, OUTPUTS = 32, 24


def layer_of(block_size: int) -> C3ALinear:
    torch.manual_seed(0)
    config = C3AConfig(block_size=block_size, init_weights="gaussian")
    return C3ALinear(nn.Linear(INPUTS, OUTPUTS), "default", config=config, block_size=block_size)


def answer_and_kernel_s_gradient(layer: Any, cls: type[nn.Module]) -> tuple[Tensor, Tensor]:
    layer.__class__ = cls
    torch.manual_seed(1)
    answer = layer(torch.randn(3, 5, INPUTS))
    (gradient,) = torch.autograd.grad((answer * torch.randn_like(answer)).sum(), [layer.c3a_kernel["default"]])
    return answer, gradient


@pytest.mark.parametrize("block_size", [1, 2, 4, 8])
def test_answers_and_gradients_of_kernels_are_peft_s(block_size: int) -> None:
    layer = layer_of(block_size)
    for ours, theirs in zip(
        answer_and_kernel_s_gradient(layer, LeanC3A), answer_and_kernel_s_gradient(layer, C3ALinear), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block_size", [1, 4, 8])
def test_all_gradients_are_the_forward_pass_s(block_size: int) -> None:
    layer: Any = layer_of(block_size).double()
    layer.__class__ = LeanC3A
    layer.c3a_kernel["default"].data.mul_(INPUTS)  # PEFT divides by the width
    x = torch.randn(5, INPUTS, dtype=torch.float64, requires_grad=True)
    kernel = layer.c3a_kernel["default"]
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (x, kernel))


def test_peft_s_own_gradient_of_inputs_is_still_another_one() -> None:
    # Once PEFT's is right, drop this, and compare with it in test_lean_layers.py.
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 8, dtype=torch.float64, requires_grad=True), torch.randn(1, 1, 8, dtype=torch.float64)
    assert not torch.autograd.gradcheck(
        lambda x: BlockCircularConvolution.apply(x, kernel), (x,), raise_exception=False
    )


def test_in_16_bits_the_update_is_rounded_like_the_outputs() -> None:
    layer: Any = layer_of(8)
    exact, exact_gradient = answer_and_kernel_s_gradient(layer, LeanC3A)
    with torch.autocast("cpu", torch.bfloat16):
        answer, gradient = answer_and_kernel_s_gradient(layer, LeanC3A)
    torch.testing.assert_close(answer, exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(gradient, exact_gradient, rtol=0.02, atol=0.02)
