"""Layers that are gathered ahead of their turn."""

import torch
from lightning.pytorch import LightningModule

from tests.engine.test_sharding import Network, of_this_process
from tests.processes import in_processes


class Backwards(Network):
    """The last layer of the list runs first."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values = self.body(self.embedding(tokens))
        for layer in reversed(self.layers):
            values = layer(values)
        logits: torch.Tensor = self.head(values)
        return logits


def answers_with_other_weights() -> list[torch.Tensor]:
    """The answers of a sharded and a whole network that has read weights between two evaluations."""
    strategy = of_this_process()
    torch.manual_seed(0)
    network, other, module = Backwards(), Backwards(), LightningModule()
    module.model = network
    strategy.shard(network)
    strategy.connect(module)
    with torch.no_grad():
        network(torch.arange(4))
        strategy.load_model_state_dict({"state_dict": {f"model.{n}": v for n, v in other.named_parameters()}})
        return [one(torch.arange(4)) for one in (network, other)]


def test_layers_run_in_any_order_answer_with_the_weights_that_were_read() -> None:
    for answer, expected in in_processes(2, answers_with_other_weights):
        assert torch.allclose(answer, expected)
