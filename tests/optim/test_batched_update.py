from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from bitsandbytes.optim.adamw import AdamW8bit
from bitsandbytes.optim.optimizer import GlobalOptimManager, Optimizer2State
from torch import nn

from peft_lightning.optim.optimizers import build_optimizer

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
NAMES = ["adamw_8bit", "paged_adamw_8bit"]


def weights(device: str = "cpu") -> list[tuple[str, nn.Parameter]]:
    """Those of an adapter and a head: small ones in 8 and in 32 bits, one that is not whole blocks, a large one."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {f"layer{n}.lora_{side}": (8, 768) for n in range(6) for side in "ab"}
    shapes |= {"dense": (400, 300), "odd": (17, 301), "out": (2, 768), "out.bias": (2,), "norm.weight": (768,)}
    return [(name, nn.Parameter((torch.randn(shape) * 0.05).to(device))) for name, shape in shapes.items()]


def give_gradients(named: list[tuple[str, nn.Parameter]], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for number, (_, parameter) in enumerate(named):
        gradient = torch.randn(parameter.shape, generator=generator).to(parameter.device)
        # One that has none at first, and one that has none in between.
        parameter.grad = None if (number, step) in ((1, 0), (2, 2)) else gradient


def train(named: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (1 + step)
        give_gradients(named, step)
        optimizer.step()


def same_bits(one: list[tuple[str, nn.Parameter]], other: list[tuple[str, nn.Parameter]]) -> bool:
    return all(torch.equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def groups(named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    decayed = [parameter for name, parameter in named if "bias" not in name and "norm" not in name]
    return [{"params": decayed, "weight_decay": 0.1}, {"params": [named[-2][1], named[-1][1]], "weight_decay": 0.0}]


@pytest.mark.parametrize("device", DEVICES)
def test_bits_are_those_of_one_update_for_each_weight(device: str) -> None:
    ours, theirs = weights(device), weights(device)
    optimizer, _ = build_optimizer("adamw_8bit", ours, 1e-3, weight_decay=0.1, device=device)
    train(ours, optimizer, range(6))
    train(theirs, AdamW8bit(groups(theirs), lr=1e-3), range(6))
    assert not same_bits(ours, weights(device))
    assert same_bits(ours, theirs)


def test_small_weights_of_one_kind_take_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    named = weights()
    optimizer, _ = build_optimizer("adamw_8bit", named, 1e-3, weight_decay=0.1)
    sizes: list[int] = []
    update = Optimizer2State.update_step

    def counted(self: Any, group: Any, p: nn.Parameter, *place: int) -> None:
        sizes.append(p.numel())
        update(self, group, p, *place)

    monkeypatch.setattr(Optimizer2State, "update_step", counted)
    train(named, optimizer, range(4, 5))
    # The large one, the one that is not whole blocks, all adapters; `out`; the bias and the norm.
    assert sorted(sizes) == [2 + 768, 2 * 768, 17 * 301, 12 * 8 * 768, 400 * 300]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_a_file_with_the_same_bits(name: Any, device: str) -> None:
    whole, half, resumed = weights(device), weights(device), weights(device)
    train(whole, build_optimizer(name, whole, 1e-3, device=device)[0], range(8))
    first, _ = build_optimizer(name, half, 1e-3, device=device)
    train(half, first, range(5))
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "weights": [value for _, value in half]}, file)
    train(half, first, range(5, 8))
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    second, _ = build_optimizer(name, resumed, 1e-3, device=device)
    train(resumed, second, range(2))  # what is loaded replaces a state that had been put together
    with torch.no_grad():
        for (_, parameter), value in zip(resumed, saved["weights"], strict=True):
            parameter.copy_(value)
    second.load_state_dict(saved["optimizer"])
    train(resumed, second, range(5, 8))
    assert same_bits(whole, half)
    assert same_bits(whole, resumed)


def test_what_is_together_no_more_is_let_go() -> None:
    named = [(f"w{n}", nn.Parameter(torch.randn(8, 768))) for n in range(12)]
    optimizer: Any
    optimizer, _ = build_optimizer("adamw_8bit", named, 1e-3)
    for step in range(12):
        for number, (_, parameter) in enumerate(named):
            parameter.grad = torch.ones_like(parameter) if number >= step else None
        optimizer.step()
    assert len(optimizer._together) == 1


def test_an_update_that_fails_leaves_an_optimiser_that_can_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    named = weights()
    optimizer, _ = build_optimizer("adamw_8bit", named, 1e-3)
    train(named, optimizer, range(4))

    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as scarce:
        scarce.setattr(Optimizer2State, "update_step", full)
        with pytest.raises(torch.OutOfMemoryError):
            train(named, optimizer, range(4, 5))
    assert len(optimizer.state_dict()["state"]) == len(named)
    train(named, optimizer, range(5, 6))


def test_a_weight_with_settings_of_its_own_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    named = weights()
    optimizer: Any
    optimizer, _ = build_optimizer("adamw_8bit", named, 1e-3)
    manager = GlobalOptimManager.get_instance()
    monkeypatch.setattr(manager, "pid2config", {id(named[3][1]): {"lr": 0.0}})
    monkeypatch.setattr(manager, "index2config", {})
    train(named, optimizer, range(3))
    fresh = weights()
    assert torch.equal(named[3][1], fresh[3][1])
    assert not torch.equal(named[4][1], fresh[4][1])
