"""Layers with LoRA, and what a training step of them gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from tests.engine.captured_runs import CUDA

INPUTS, OUTPUTS, RANK = 64, 48, 4
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def base(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "nf4":
        return Linear4bit(INPUTS, OUTPUTS, compute_dtype=torch.bfloat16, quant_type="nf4")
    if kind == "int8":
        return Linear8bitLt(INPUTS, OUTPUTS, has_fp16_weights=False)
    return nn.Linear(INPUTS, OUTPUTS).to(torch.bfloat16 if kind == "bf16" else torch.float32)


def adapted(kind: str, device: str, **settings: Any) -> nn.Sequential:
    """A layer with PEFT's own LoRA layer around it, both of its weights at random."""
    config = LoraConfig(r=RANK, lora_alpha=8, target_modules=["0"], init_lora_weights=False, **settings)
    model = nn.Sequential(base(kind).requires_grad_(False)).to(device)
    if kind in ("nf4", "int8"):
        model.config = SimpleNamespace(quantization_config=kind)  # type: ignore[assignment]
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = kind == "nf4", kind == "int8"  # type: ignore[assignment]
    torch.manual_seed(1)
    inject_adapter_in_model(config, model)
    model.to(device)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return model


def results(model: nn.Module, given: Tensor, seed: int = 2) -> list[Tensor]:
    """Outputs, and the gradients of inputs and weights, of a training step in bf16."""
    torch.manual_seed(seed)
    x = given.clone().requires_grad_()
    with torch.autocast(given.device.type, torch.bfloat16):
        output = model(x)
    torch.manual_seed(seed + 1)
    loss = (output.float() * torch.randn(output.shape, device=output.device)).sum()
    weights = [p for name, p in model.named_parameters() if "lora_" in name]
    return [output, *torch.autograd.grad(loss, [x, *weights])]


def distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())
