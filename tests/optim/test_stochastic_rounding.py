from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bitsandbytes import functional
from torch import nn

from peft_lightning.optim import stochastic_rounding
from peft_lightning.optim.batched_update import BatchedUpdate
from peft_lightning.optim.optimizers import build_optimizer
from peft_lightning.optim.stochastic_rounding import rounded

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
NAMES = ["adamw_8bit", "paged_adamw_8bit"]


def parameters(dtype: torch.dtype, device: str = "cpu") -> list[tuple[str, nn.Parameter]]:
    """Weights large enough for 8-bit and for paged state, and a few that are neither."""
    torch.manual_seed(0)
    made = {"dense": torch.randn(400, 300) * 0.05, "small": torch.randn(40) * 0.05}
    return [(name, nn.Parameter(value.to(device, dtype))) for name, value in made.items()]


def step(named: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in named:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.device, parameter.dtype)
    optimizer.step()


def test_rounding_gives_a_neighbour_and_is_right_on_average() -> None:
    torch.manual_seed(0)
    value = 1 + 2**-7 * 0.3
    results = rounded(torch.full((20000,), value)).float()
    assert set(results.tolist()) == {1.0, 1 + 2**-7}
    assert float(results.mean()) == pytest.approx(value, abs=2**-7 * 0.015)
    exact = torch.tensor([0.0, -1.5, 2**-120, -0.09375])
    assert torch.equal(rounded(exact).float(), exact)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_small_steps_arrive(name: str, device: str) -> None:
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        named = parameters(dtype, device)
        before = [parameter.detach().float().clone() for _, parameter in named]
        optimizer, _ = build_optimizer(name, named, learning_rate=2e-6, device=device)  # type: ignore[arg-type]
        for _ in range(100):
            for _, parameter in named:
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        pairs = zip(before, named, strict=True)
        moved[dtype] = [float((parameter.detach().float() - old).mean()) for old, (_, parameter) in pairs]
    for wide, narrow in zip(*moved.values(), strict=True):
        assert narrow == pytest.approx(wide, rel=0.3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_piece_by_piece_is_what_at_once_is(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rounding by chance draws other numbers for other pieces: the moments must not notice.
    moments = []
    for piece in (2**20, 1024):
        monkeypatch.setattr(stochastic_rounding, "_PIECE", piece)
        named = parameters(torch.bfloat16, device)
        optimizer, _ = build_optimizer(name, named, learning_rate=1e-3, device=device)  # type: ignore[arg-type]
        for seed in range(3):
            step(named, optimizer, seed)
        moments.append([optimizer.state[parameter] for _, parameter in named])
    for whole, pieces in zip(*moments, strict=True):
        assert whole["step"] == pieces["step"] == 3
        for key in ("state1", "state2", *(["absmax1", "absmax2"] if "absmax1" in whole else [])):
            assert torch.equal(whole[key], pieces[key]), key
            assert whole[key].any(), key


def several(device: str = "cpu") -> list[tuple[str, nn.Parameter]]:
    """Weights that share a piece, one longer than a piece, one that is not whole blocks, and two in 32 bits."""
    torch.manual_seed(0)
    shapes = {"table": (700, 300), "query": (400, 300), "odd": (301, 401), "key": (400, 300), "head": (400, 300)}
    made = {name: torch.randn(shape) * 0.05 for name, shape in (shapes | {"out": (2, 300)}).items()}
    wide = ("head", "out")
    return [
        (name, nn.Parameter(value.to(device, torch.float32 if name in wide else torch.bfloat16)))
        for name, value in made.items()
    ]


def test_weights_that_share_a_piece_get_the_bits_of_an_update_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stochastic_rounding, "_PIECE", 300_000 // 256 * 256)
    results = []
    for alone in (False, True):
        if alone:
            monkeypatch.setattr(stochastic_rounding.StochasticRounding, "update_alone", BatchedUpdate.update_alone)
        named = several()
        optimizer, _ = build_optimizer("adamw_8bit", named, learning_rate=1e-3, weight_decay=0.1)
        torch.manual_seed(1)
        for seed in range(3):
            step(named, optimizer, seed)
        results.append([(name, p, optimizer.state[p]) for name, p in named])
    for (name, one, its), (_, other, others) in zip(*results, strict=True):
        assert torch.equal(one, other), name
        assert its["step"] == others["step"] == 3
        assert torch.equal(its["state1"], others["state1"]), name
        assert torch.equal(its["state2"], others["state2"]), name


def test_a_state_that_a_checkpoint_replaced_is_the_one_that_is_updated() -> None:
    named = several()
    optimizer, _ = build_optimizer("adamw_8bit", named, learning_rate=1e-3)
    step(named, optimizer, 0)
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(saved)
    before = optimizer.state[named[0][1]]["state1"].clone()
    step(named, optimizer, 1)
    assert not torch.equal(optimizer.state[named[0][1]]["state1"], before)


@CUDA
def test_state_that_is_on_the_gpu_is_not_fetched_again_until_the_host_has_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: list[torch.Tensor] = []
    fetch = functional.prefetch_tensor

    def counted(tensor: torch.Tensor) -> None:
        fetched.append(tensor)
        fetch(tensor)

    monkeypatch.setattr(functional, "prefetch_tensor", counted)
    named = several("cuda")
    optimizer, _ = build_optimizer("paged_adamw_8bit", named, learning_rate=1e-3, device="cuda")
    counts = []
    for seed in range(4):
        if seed == 2:
            optimizer.state_dict()
        step(named, optimizer, seed)
        counts.append(len(fetched))
    assert counts == [10, 10, 20, 20]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_resumed_with_its_random_state_it_is_bit_for_bit_uninterrupted(name: str, device: str) -> None:
    def start() -> tuple[list[tuple[str, nn.Parameter]], Any]:
        named = parameters(torch.bfloat16, device)
        return named, build_optimizer(name, named, learning_rate=1e-3, device=device)[0]  # type: ignore[arg-type]

    whole, optimizer = start()
    torch.manual_seed(7)
    for seed in range(3):
        step(whole, optimizer, seed)
    saved = [parameter.detach().clone() for _, parameter in whole], copy.deepcopy(optimizer.state_dict())
    chance = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    for seed in range(3, 6):
        step(whole, optimizer, seed)
    resumed, again = start()
    for (_, parameter), value in zip(resumed, saved[0], strict=True):
        parameter.data.copy_(value)
    again.load_state_dict(saved[1])
    (torch.cuda.set_rng_state if device == "cuda" else torch.set_rng_state)(chance)
    for seed in range(3, 6):
        step(resumed, again, seed)
    for (name, one), (_, other) in zip(whole, resumed, strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_processes_that_drew_other_masks_of_dropout_round_alike(name: str, device: str) -> None:
    def trained(drawn: int) -> list[tuple[str, nn.Parameter]]:
        torch.manual_seed(7)
        named = parameters(torch.bfloat16, device)
        optimizer: Any = build_optimizer(name, named, learning_rate=1e-3, device=device)[0]  # type: ignore[arg-type]
        for seed in range(3):
            torch.manual_seed(7)
            torch.rand(drawn, device=device)
            step(named, optimizer, seed)
        return named

    for (name, one), (_, other) in zip(trained(1), trained(5), strict=True):
        assert torch.equal(one, other), name


def test_what_is_no_number_stays_visible() -> None:
    # The last one is CUDA's own NaN, to whose bits nothing can be added.
    broken = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    broken = torch.cat([broken, torch.tensor([0x7FFFFFFF], dtype=torch.int32).view(torch.float32)])
    result = rounded(broken)
    assert result.isnan().tolist() == [True, False, False, False, True]
    assert result[1:4].tolist() == [float("inf"), -float("inf"), 1.0]
