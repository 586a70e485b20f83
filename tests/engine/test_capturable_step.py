import pytest
import torch

import peft_lightning.engine.capturable_step
from peft_lightning.engine.capturable_step import CapturableStep
from peft_lightning.engine.micro_batches import Batch
from tests.engine.captured_runs import gradients_alone


@pytest.mark.parametrize("micro_batch_size", [8, 2])
def test_large_gradients_that_processes_average_have_no_second_set(
    micro_batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peft_lightning.engine.capturable_step, "_SMALL", 0)
    network = torch.nn.Linear(16, 4)
    batch = {"x": torch.randn(8, 16), "labels": torch.zeros(8)}
    settings = gradients_alone(accumulate=1, shares=True)
    held: list[set[int]] = []

    def loss(part: Batch) -> torch.Tensor:
        held.append({value.grad.data_ptr() for value in network.parameters() if value.grad is not None})
        values: torch.Tensor = network(part["x"])
        return values.square().mean()

    step = CapturableStep(loss, torch.optim.AdamW(network.parameters()), settings)
    step.warm_up(batch, micro_batch_size)
    held.clear()
    for _ in range(2):
        step.lend_gradients(True)
        step.accumulate(batch, micro_batch_size, True)
    places = {value.grad.data_ptr() for value in network.parameters() if value.grad is not None}
    # Of a whole batch each gradient goes to its bucket as it comes.
    assert held == ([set(), set()] if micro_batch_size == 8 else [places] * 8)
    gradients = [value.grad for value in network.parameters()]
    expected = torch.autograd.grad(network(batch["x"]).square().mean(), list(network.parameters()))
    for gradient, value in zip(gradients, expected, strict=True):
        assert gradient is not None
        assert torch.allclose(gradient, value, atol=1e-6)
