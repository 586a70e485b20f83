from __future__ import annotations

import importlib.util
import io
from typing import Any, get_args

import pytest
import torch
from torch import nn

from peft_lightning.errors import UserError
from peft_lightning.optim.optimizers import OptimizerName, ScheduleName, build_optimizer, build_schedule, state_bytes

OPTIMIZERS = get_args(OptimizerName)
SCHEDULES = get_args(ScheduleName)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
STEPS = 10


class Net(nn.Module):
    """Weights large enough for 8-bit and for paged state, and a few that are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(256, 512)
        self.LayerNorm = nn.LayerNorm(512)
        self.out_proj = nn.Linear(512, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.out_proj(self.LayerNorm(self.dense(inputs)).relu())
        return result


class Training:
    def __init__(self, optimizer: str, schedule: str = "linear", device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.device = device
        self.net = Net().to(device)
        self.optimizer, self.note = build_optimizer(
            optimizer,  # type: ignore[arg-type]
            self.net.named_parameters(),
            learning_rate=1e-2,
            weight_decay=0.1,
            device=device,
        )
        self.schedule = build_schedule(schedule, self.optimizer, warmup_steps=2, total_steps=STEPS)  # type: ignore[arg-type]

    def run(self, first: int, last: int) -> None:
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            inputs = torch.randn(8, 256, generator=generator).to(self.device)
            labels = torch.randint(0, 3, (8,), generator=generator).to(self.device)
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.net(inputs), labels).backward()
            self.optimizer.step()
            self.schedule.step()

    def saved(self) -> dict[str, Any]:
        """What a checkpoint gives back."""
        buffer = io.BytesIO()
        parts: dict[str, Any] = {"net": self.net, "optimizer": self.optimizer, "schedule": self.schedule}
        torch.save({name: part.state_dict() for name, part in parts.items()}, buffer)
        buffer.seek(0)
        state: dict[str, Any] = torch.load(buffer, weights_only=True)
        return state

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def same_bits(one: Training, other: Training) -> bool:
    pairs = zip(one.net.state_dict().items(), other.net.state_dict().items(), strict=True)
    return all(torch.equal(a, b) for (_, a), (_, b) in pairs)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_is_bit_for_bit_uninterrupted(optimizer: str, schedule: str, device: str) -> None:
    whole, first, second = (Training(optimizer, schedule, device) for _ in range(3))
    whole.run(0, STEPS)
    first.run(0, 5)
    second.load(first.saved())
    second.run(5, STEPS)
    assert same_bits(whole, second)
    assert not same_bits(first, second)
    assert whole.optimizer.param_groups[0]["lr"] == second.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_loading_also_works_into_an_optimizer_that_has_stepped(optimizer: str) -> None:
    whole, first, second = (Training(optimizer) for _ in range(3))
    whole.run(0, STEPS)
    first.run(0, 5)
    second.run(0, 8)
    second.load(first.saved())
    second.run(5, STEPS)
    assert same_bits(whole, second)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_biases_and_norms_do_not_decay(optimizer: str) -> None:
    training = Training(optimizer)
    names = {id(parameter): name for name, parameter in training.net.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in training.optimizer.param_groups
        for parameter in group["params"]
    }
    assert decay == {
        "dense.weight": 0.1,
        "dense.bias": 0.0,
        "LayerNorm.weight": 0.0,
        "LayerNorm.bias": 0.0,
        "out_proj.weight": 0.1,
        "out_proj.bias": 0.0,
    }


def test_large_state_takes_8_bits() -> None:
    training = Training("adamw_8bit")
    training.run(0, 1)
    state = training.optimizer.state
    assert state[training.net.dense.weight]["state1"].dtype == torch.uint8
    assert state[training.net.dense.bias]["state1"].dtype == torch.float32


def test_frozen_parameters_are_left_out() -> None:
    net = Net()
    net.dense.requires_grad_(False)
    optimizer, _ = build_optimizer("adamw", net.named_parameters(), learning_rate=1e-3)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_only_paging_without_a_gpu_is_noted() -> None:
    notes = {name: Training(name).note for name in OPTIMIZERS}
    assert notes["adamw"] is None
    assert notes["adamw_8bit"] is None
    assert "adamw_8bit" in str(notes["paged_adamw_8bit"])


def test_gradients_can_be_clipped_under_autocast() -> None:
    from lightning.pytorch.plugins.precision import MixedPrecision

    training = Training("adamw")
    training.net.dense.weight.grad = torch.full_like(training.net.dense.weight, 1.0)
    plugin = MixedPrecision("bf16-mixed", "cpu")
    plugin.clip_gradients(training.optimizer, clip_val=1.0)
    assert training.net.dense.weight.grad.norm() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(("schedule", "rates"), [("linear", [0, 0.5, 1, 0.5, 0]), ("constant", [0, 0.5, 1, 1, 1])])
def test_rate_rises_over_the_warmup_and_then_follows_the_schedule(schedule: Any, rates: list[float]) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build_schedule(schedule, optimizer, warmup_steps=2, total_steps=4)
    seen = []
    for _ in rates:
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == rates


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(UserError, match="optimizer 'adam' is unknown"):
        build_optimizer("adam", Net().named_parameters(), learning_rate=1e-3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="schedule 'step' is unknown"):
        build_schedule("step", Training("adamw").optimizer, 0, 1)  # type: ignore[arg-type]


def test_missing_bitsandbytes_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "peft_lightning.optim.optimizers.find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    with pytest.raises(UserError, match=r"use optimizer='adamw'$"):
        build_optimizer("adamw_8bit", Net().named_parameters(), learning_rate=1e-3)


@CUDA
def test_paged_state_is_paged_again_after_a_resume() -> None:
    first, second = Training("paged_adamw_8bit", device="cuda"), Training("paged_adamw_8bit", device="cuda")
    first.run(0, 5)
    second.load(first.saved())
    second.run(5, 6)
    for training in (first, second):
        state = training.optimizer.state[training.net.dense.weight]
        assert state["state1"].is_paged
        assert state["state2"].is_paged


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit"])
def test_the_memory_of_the_moments_is_known_before_the_first_step(name: OptimizerName) -> None:
    weights = [nn.Parameter(torch.randn(64, 96)), nn.Parameter(torch.randn(5))]
    optimizer, _ = build_optimizer(name, [("large", weights[0]), ("small", weights[1])], 1e-3)
    expected = state_bytes(optimizer)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    moments = {"exp_avg", "exp_avg_sq", "state1", "state2"}
    taken = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for key, value in state.items()
        if key in moments
    )
    assert expected == taken
    assert state_bytes(optimizer) == 0
