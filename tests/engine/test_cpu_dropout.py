from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from peft_lightning.engine import cpu_dropout
from peft_lightning.engine.cpu_dropout import attention, dropout, faster_dropout
from peft_lightning.module.classifier import TextClassifier
from tests.engine.test_micro_batching import trained

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_as_many_are_zeroed_as_asked_and_the_mean_stays(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    given = torch.full((997, 211), 3.0, dtype=dtype, requires_grad=True)
    result = dropout(given, p)
    count = given.numel()
    deviation = (p * (1 - p) / count) ** 0.5
    assert float((result == 0).float().mean()) == pytest.approx(p, abs=4 * deviation)
    assert float(result.float().mean()) == pytest.approx(3, abs=4 * 3 * deviation / (1 - p) + 0.01)
    assert len(result.unique()) == 2
    result.sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad * 3 > 0, result > 0)
    assert torch.allclose(given.grad.float() * 3, result.float(), rtol=1e-2)


def test_neighbours_and_calls_are_independent_and_a_seed_repeats_them() -> None:
    def drawn() -> torch.Tensor:
        return (dropout(torch.ones(100_000), 0.5) == 0).float() - 0.5

    torch.manual_seed(1)
    first, second = drawn(), drawn()
    torch.manual_seed(1)
    assert torch.equal(first, drawn())
    for other in (second, *(first.roll(shift) for shift in (1, 2, 3, 4))):
        assert abs(float((first * other).mean())) < 4 * 0.25 / 100_000**0.5


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything(p: float) -> None:
    assert torch.equal(dropout(torch.ones(50), p), torch.full((50,), 1.0 - p))
    assert torch.equal(dropout(torch.ones(50), 0.5, training=False), torch.ones(50))


@pytest.mark.parametrize("mask", ["none", "true where seen", "added"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_torchs(mask: str, scale: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_dropout, "dropout", lambda weights, p: weights)
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3)]
    seen = torch.rand(2, 1, 7, 7) > 0.3
    seen[0, :, 2] = False  # a query that may look at nothing
    masks: dict[str, Any] = {
        "none": None,
        "true where seen": seen,
        "added": torch.randn(2, 1, 7, 7).masked_fill(~seen, -torch.inf),
    }
    query, key, value = inputs
    results = []
    for one in (
        attention(query, key, value, masks[mask], 0.1, scale=scale),
        F.scaled_dot_product_attention(query, key, value, masks[mask], 0.0, scale=scale),
    ):
        results.append([one, *torch.autograd.grad(one.square().sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_attention_drops_weights() -> None:
    torch.manual_seed(0)
    # Equal scores and values of one: each result is the share of weights that were kept, scaled.
    result = attention(torch.zeros(4, 4, 64, 8), torch.zeros(4, 4, 64, 8), torch.ones(4, 4, 64, 2), None, 0.25)
    assert float(result.mean()) == pytest.approx(1, abs=0.02)
    assert float(result.std()) == pytest.approx((0.25 / 0.75 / 64) ** 0.5, rel=0.1)


def test_under_autocast_it_is_as_exact_as_torchs() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, 16, 32) for _ in range(3))
    exact = F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = F.scaled_dot_product_attention(query, key, value)
        ours = attention(query, key, value, None, 1e-4)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    assert (ours - exact).abs().mean() < 1.2 * (theirs - exact).abs().mean()


def test_a_models_own_dropout_is_the_faster_one_in_training_alone() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.1))

    def operators() -> set[str]:
        with profile(activities=[ProfilerActivity.CPU]) as seen, faster_dropout(CPU):
            net(torch.randn(8, 64))
        return {event.key for event in seen.key_averages()}

    assert "aten::random_" in operators()
    assert "aten::bernoulli_" not in operators()
    net.eval()
    assert "aten::random_" not in operators()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_others_had_put_there_is_back_afterwards(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def others(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        return input

    monkeypatch.setattr(F, "dropout", others)
    with faster_dropout(torch.device(device)):
        assert F.dropout is (dropout if device == "cpu" else others)
    assert F.dropout is others


@pytest.mark.slow
def test_no_step_of_a_run_draws_masks_torchs_way(
    tiny_fit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    loss = TextClassifier.loss

    def watched(module: TextClassifier, batch: Any) -> torch.Tensor:
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            result = loss(module, batch)
        drawn.append(sum(event.count for event in seen.key_averages() if event.key == "aten::bernoulli_"))
        return result

    monkeypatch.setattr(TextClassifier, "loss", watched)
    trained(tiny_fit, tmp_path)
    assert drawn
    assert set(drawn) == {0}


@pytest.mark.slow
def test_what_is_computed_again_in_the_backward_pass_has_the_same_masks(tiny_fit: list[str], tmp_path: Path) -> None:
    kept, _ = trained(tiny_fit, tmp_path / "kept")
    again, _ = trained(tiny_fit, tmp_path / "again", "--model.gradient_checkpointing", "true")
    assert kept["global_step"] == again["global_step"]
    for name, weight in kept["state_dict"].items():
        assert torch.allclose(weight, again["state_dict"][name], atol=1e-6), name
