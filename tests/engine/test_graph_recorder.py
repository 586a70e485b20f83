"""Tests of recorded kernels that a CPU has no stand-in for."""

from __future__ import annotations

import torch
from torch.nn.functional import dropout
from torch.utils.checkpoint import checkpoint

from peft_lightning.engine.graph_recorder import GraphRecorder
from tests.engine.captured_runs import CUDA


@CUDA
def test_activations_that_are_computed_again_draw_the_same_dropout_in_a_graph() -> None:
    # The gradient of dropout at 1 is its result. Before torch 2.10 a capture could not put the random state back.
    inputs = torch.ones(4096, device="cuda", requires_grad=True)
    inputs.grad = torch.zeros_like(inputs)
    result = torch.zeros_like(inputs)

    def layer(values: torch.Tensor) -> torch.Tensor:
        return dropout(dropout(values, 0.25) * 2, 0.5)

    def step() -> None:
        assert inputs.grad is not None
        inputs.grad.zero_()
        dropped = checkpoint(layer, inputs, use_reentrant=False)
        again = dropout(dropped, 0.5)
        again.sum().backward()
        result.copy_(again.detach())

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    replay = GraphRecorder()(step)
    seen = []
    for _ in range(3):
        replay()
        assert torch.equal(inputs.grad, result)
        seen.append(result.clone())
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
