"""Gradients of 16 bits that processes send each other, and average in 32."""

import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import distributed as dist

from peft_lightning.engine.sharded_tensors import whole
from tests.engine.test_sharding import Network, of_this_process
from tests.processes import in_processes

PROCESSES = 3  # which divides none of the network's rows


def averaged() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A process's own gradients, and those that all processes are left with."""
    strategy = of_this_process()
    strategy.precision_plugin = MixedPrecision("bf16-mixed", "cpu")
    tokens = torch.arange(4) + dist.get_rank()
    found = []
    for shards in (False, True):
        torch.manual_seed(0)
        network = Network().requires_grad_(True)
        if shards:
            strategy.shard(network)
        else:
            network.bfloat16()
        with strategy.precision_plugin.train_step_context():
            network(tokens).float().square().sum().backward()
        gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
        found.append({name: whole(gradient) for name, gradient in gradients.items()})
    return found[0], found[1]


def test_the_average_is_that_of_32_bits() -> None:
    results = in_processes(PROCESSES, averaged)
    own = [one for one, _ in results]
    for name, gradient in results[0][1].items():
        assert gradient.dtype == torch.float32
        expected = torch.stack([one[name].float() for one in own]).mean(0)
        # In bf16 it would be rounded after each sum: by up to 1 / 256.
        assert torch.allclose(gradient, expected, rtol=1e-6, atol=0), name
        assert all(torch.equal(gradient, shared[name]) for _, shared in results)
    assert any(gradient.bfloat16().float().ne(gradient).any() for gradient in results[0][1].values())
