"""LoRA's lean layers take the inputs and run on the devices that PEFT's own do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from peft_lightning.methods import low_rank_update
from peft_lightning.methods.lean_lora import take_lean_layers
from tests.methods.test_low_rank_update import DEVICES, INPUTS, OUTPUTS, adapted, results


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", [(INPUTS,), (5, INPUTS), (0, 7, INPUTS), (2, 3, 5, INPUTS)], ids=str)
def test_inputs_of_any_shape_are_taken(shape: tuple[int, ...], wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    theirs = adapted("bf16", "cpu")
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    x = torch.randn(shape)
    for mine, pefts in zip(results(ours, x), results(theirs, x), strict=True):
        torch.testing.assert_close(mine, pefts, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_a_dropout_that_is_switched_off_drops_nothing(device: str) -> None:
    model = adapted("bf16", device, lora_dropout=0.5)
    take_lean_layers(model)
    layer: Any = model[0]
    layer.lora_dropout.eval()
    x = torch.randn(7, INPUTS, device=device)
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(layer(x), model.eval()(x), rtol=0.02, atol=0.02)


def test_masks_of_other_devices_are_left_to_peft() -> None:
    """A wide layer would draw another one in the backward pass: it knows the random numbers of CUDA and of the CPU."""
    model = adapted("bf16", "cpu", lora_dropout=0.5)
    take_lean_layers(model)

    class Elsewhere:
        device, dtype = torch.device("mps"), torch.bfloat16

    x: Any = Elsewhere()
    left = torch.zeros(1)
    torch.set_autocast_enabled("mps", True)
    try:
        assert low_rank_update.forward_lean(model[0], lambda *_: left, x) is left
    finally:
        torch.set_autocast_enabled("mps", False)


@pytest.mark.parametrize("trains", [True, False])
def test_shapes_are_found_on_a_device_without_autocast(trains: bool) -> None:
    model = adapted("fp32", "cpu").to("meta").train(trains)
    take_lean_layers(model)
    assert model(torch.empty(3, 7, INPUTS, device="meta")).shape == (3, 7, OUTPUTS)


@pytest.mark.parametrize("wide", [True, False])
def test_weights_that_are_freed_until_the_backward_pass_get_the_same_gradients(
    wide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP2 frees a layer's weights after its forward pass, those too that the layer keeps for its backward pass."""
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    whole = adapted("fp32", "cpu")
    take_lean_layers(whole)
    sharded: Any = copy.deepcopy(whole)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        fully_shard(sharded[0], mesh=init_device_mesh("cpu", (1,)), reshard_after_forward=True)
        x = torch.randn(3, 7, INPUTS)
        expected = [gradient for _, *gradients in [results(whole, x)] for gradient in gradients]
        with torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(2)
            output = sharded(x.requires_grad_())
        assert isinstance(sharded[0].lora_A["default"].weight, DTensor)
        torch.manual_seed(3)
        (output.float() * torch.randn(output.shape)).sum().backward()
        found = [x.grad, *(p.grad.full_tensor() for name, p in sharded.named_parameters() if "lora_" in name)]
    finally:
        dist.destroy_process_group()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
