"""LoRA's update has the gradients that it should have, and keeps less for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from peft_lightning.backbone.computed_again import with_recipe
from peft_lightning.methods import low_rank_update
from peft_lightning.methods.low_rank_update import _Update
from tests.methods.lora_layers import DEVICES, INPUTS, OUTPUTS, RANK


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_drawn_again_is_what_was_drawn(device: str) -> None:
    """A wide layer's gradients under dropout are those of a narrow one, which keeps its mask."""
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, device=device) for shape in ((5, 6, OUTPUTS), (5, 6, INPUTS), (RANK, INPUTS))]
    outputs, x, down, up = *tensors, torch.randn(OUTPUTS, RANK, device=device)
    found = []
    for wide in (0, 10**9):
        leaves = [tensor.bfloat16().requires_grad_() for tensor in (outputs, x)]
        leaves += [tensor.clone().requires_grad_() for tensor in (down, up)]
        torch.manual_seed(7)
        before, low_rank_update._WIDE = low_rank_update._WIDE, wide
        try:
            result = _Update.apply(*leaves, 2.0, 0.3)
        finally:
            low_rank_update._WIDE = before
        torch.randn(1000, device=device)  # others draw before the backward pass
        state = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
        found.append([result, *torch.autograd.grad(result.float().square().sum(), leaves)])
        # and draw afterwards as if nothing had been drawn again
        assert torch.equal(state, torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state())
    for again, held in zip(*found, strict=True):
        assert torch.equal(again, held)
    assert (found[0][2] == 0).float().mean() > 0.2  # of the inputs some were dropped


@pytest.mark.parametrize("wide", [True, False])
def test_gradients_are_the_slopes(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    torch.manual_seed(0)
    shapes = (2, 3, 7), (2, 3, 8), (RANK, 8), (7, RANK)
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def dropped(*leaves: Tensor) -> Tensor:
        torch.manual_seed(5)
        result: Tensor = _Update.apply(*leaves, 1.7, 0.4)
        return result

    assert torch.autograd.gradcheck(dropped, given)


def test_activations_that_are_computed_again_have_the_masks_of_those_that_are_kept() -> None:
    """Checkpointing runs the forward pass again, with its masks, and a wide layer draws them once more after it."""
    found = []
    before = low_rank_update._WIDE
    try:
        for low_rank_update._WIDE, again in ((10**9, False), (0, True)):
            torch.manual_seed(0)
            x = torch.randn(5, 6, INPUTS).bfloat16().requires_grad_()
            down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(INPUTS, RANK, requires_grad=True)

            def layer(given: Tensor, down: Tensor = down, up: Tensor = up) -> Tensor:
                made = with_recipe(F.silu(given), F.silu, given)
                return F.dropout(given + _Update.apply(made, made, down, up, 1.5, 0.3), 0.1)

            states = x
            for _ in range(2):
                states = checkpoint(layer, states, use_reentrant=False) if again else layer(states)
            gradients = torch.autograd.grad(states.float().square().sum(), [x, down, up])
            found.append([states, *gradients, torch.get_rng_state()])
    finally:
        low_rank_update._WIDE = before
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def kept_bytes(x: Tensor, wide: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(low_rank_update, "_WIDE", wide)
    outputs, down, up = torch.zeros(512, OUTPUTS, dtype=x.dtype), torch.randn(RANK, INPUTS), torch.randn(OUTPUTS, RANK)
    leaves = [tensor.requires_grad_() for tensor in (outputs, down, up)]
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = _Update.apply(leaves[0], x, leaves[1], leaves[2], 1.0, 0.1)
    del result
    return sum(sizes.values())


def test_a_wide_layer_keeps_its_rank_alone_beside_inputs_that_are_kept_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.randn(512, INPUTS).bfloat16()
    made = with_recipe(F.silu(source), F.silu, source)
    weights, hidden, mask = 4 * RANK * (INPUTS + OUTPUTS), 512 * RANK * 2, source.numel()
    assert kept_bytes(made, 0, monkeypatch) == hidden + weights + source.nbytes
    assert kept_bytes(made, 10**9, monkeypatch) == hidden + weights // 2 + source.nbytes + mask
    assert kept_bytes(F.silu(source), 0, monkeypatch) == hidden + weights + source.nbytes


def test_inputs_that_are_made_again_give_the_gradients_of_those_that_are_kept() -> None:
    torch.manual_seed(0)
    source = torch.randn(5, 6, INPUTS).bfloat16()
    found = []
    before, low_rank_update._WIDE = low_rank_update._WIDE, 0
    try:
        for says in (True, False):
            torch.manual_seed(3)
            leaves = [torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)]
            given = source.clone().requires_grad_()
            x = F.silu(given)
            x = with_recipe(x, F.silu, given) if says else x
            result = _Update.apply(torch.zeros(5, 6, OUTPUTS).bfloat16(), x, *leaves, 2.0, 0.1)
            found.append(torch.autograd.grad(result.float().square().sum(), [given, *leaves]))
    finally:
        low_rank_update._WIDE = before
    for again, held in zip(*found, strict=True):
        assert torch.equal(again, held)


def test_inputs_are_made_again_outside_autocast_where_the_backward_pass_is_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0)
    widened: list[bool] = []

    def made(source: Tensor) -> Tensor:
        widened.append(torch.is_autocast_enabled("cpu"))
        return F.silu(source)

    source = torch.randn(5, INPUTS).bfloat16()
    down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        x = with_recipe(F.silu(source), made, source)
        result = _Update.apply(torch.zeros(5, OUTPUTS).bfloat16(), x, down, up, 2.0, 0.0)
        torch.autograd.grad(result.sum(), down)
    assert widened == [False]


@pytest.mark.parametrize("wide", [True, False])
def test_where_all_inputs_are_dropped_nothing_is_learned(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank_update, "_WIDE", 0 if wide else 10**9)
    x, outputs = torch.randn(5, INPUTS).bfloat16().requires_grad_(), torch.randn(5, OUTPUTS).bfloat16()
    down, up = torch.randn(RANK, INPUTS, requires_grad=True), torch.randn(OUTPUTS, RANK, requires_grad=True)
    result = _Update.apply(outputs, x, down, up, 2.0, 1.0)
    assert torch.equal(result, outputs)
    assert not any(bool(gradient.any()) for gradient in torch.autograd.grad(result.sum(), [x, down, up]))
