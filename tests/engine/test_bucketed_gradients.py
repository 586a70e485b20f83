from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import peft_lightning.engine.gradient_buckets
from peft_lightning.engine.bucketed_gradients import BucketedGradients, counted
from peft_lightning.engine.casting import cast_together


class Network(nn.Module):
    """Words, two layers, and a linear layer that nothing goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(8, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.unused = nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.words(tokens)
        for layer in self.layers:
            values = layer(values).tanh()
        loss: Tensor = values.square().sum()
        return loss


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network whose every weight and bias has a bucket of its own."""
    monkeypatch.setattr(peft_lightning.engine.gradient_buckets.buckets_of, "__defaults__", (1,))
    torch.manual_seed(0)
    return Network()


def used(network: Network) -> list[Tensor]:
    return [*network.words.parameters(), *network.layers.parameters()]


def computed(network: Network) -> list[Tensor]:
    """The gradients of a step, as autograd leaves them under autocast."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.arange(4))
    loss.backward()
    gradients = [parameter.grad for parameter in used(network)]
    network.zero_grad()
    return [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_buckets_hold_what_was_computed_and_then_the_sum(network: Network, in_turn: bool, together: bool) -> None:
    expected = computed(network)
    buckets = BucketedGradients(used(network), in_turn)
    for times in (1, 2):
        with (
            buckets.filled(adds=times > 1),
            cast_together(network if together else nn.Module(), torch.bfloat16) as lent,
        ):
            assert len(lent) == (4 + 2 if together else 0)
            with buckets.watched(lent):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = network(torch.arange(4))
                loss.backward()
        for parameter, gradient in zip(used(network), expected, strict=True):
            assert torch.equal(buckets.gradients[parameter], times * gradient)
            assert parameter.grad is None
    assert buckets.ready == {}


def test_a_bucket_is_filled_as_soon_as_its_gradients_are_there(network: Network) -> None:
    trained = used(network)
    buckets = BucketedGradients(trained, in_turn=True)
    seen: list[list[bool]] = []

    def look(gradient: Tensor) -> None:
        seen.append([bool(buckets.gradients[parameter].any()) for parameter in trained])

    with buckets.filled(adds=False), cast_together(network, torch.bfloat16) as lent, buckets.watched(lent):
        values = network.words(torch.arange(4)).bfloat16()
        values.register_hook(look)
        for layer in network.layers:
            values = layer(values).tanh()
            values.register_hook(look)
        values.square().sum().backward()
    # Before a layer's backward pass those of the layers behind it are there, and no others.
    assert seen == [[False] * 5, [False] * 3 + [True] * 2, [False] + [True] * 4]


def test_gradients_that_another_pass_left_out_are_zero(network: Network) -> None:
    everything = [*used(network), *network.unused.parameters()]
    buckets = BucketedGradients(everything, in_turn=True)
    for gradient in buckets.gradients.values():
        gradient.fill_(7)
    with buckets.filled(adds=False), buckets.watched({}):
        network(torch.arange(4)).backward()
    assert not any(buckets.gradients[parameter].any() for parameter in network.unused.parameters())
    assert not any((buckets.gradients[parameter] == 7).any() for parameter in used(network))


@pytest.mark.parametrize("adds", [False, True])
def test_a_kernel_fills_a_bucket_with_gradients_of_one_type(adds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Network()
    buckets = BucketedGradients(used(network), in_turn=True)  # all of them in one
    name = "_foreach_add_" if adds else "_foreach_copy_"
    fill, seen = getattr(torch, name), []

    def look(places: list[Tensor], fresh: list[Tensor]) -> None:
        seen.append([gradient.dtype for gradient in fresh])
        fill(places, fresh)

    with buckets.filled(adds), cast_together(network, torch.bfloat16) as lent, buckets.watched(lent):
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(torch.arange(4))
        monkeypatch.setattr(torch, name, look)
        loss.backward()
    # The layers' weights and biases are lent, the words' are not. GPUs copy each of mixed types by itself, and add each
    # of another type than the bucket's.
    assert sorted(seen, key=len) == [[torch.float32], [torch.float32 if adds else torch.bfloat16] * 4]


def test_how_often_a_gradient_grows_is_counted(network: Network) -> None:
    grown: Counter[Tensor] = Counter()
    trained = used(network)
    layer = network.layers[0]
    with cast_together(network, torch.bfloat16) as lent, counted(grown, trained, lent):
        values = network.words(torch.arange(4)).bfloat16()
        for _ in range(2):  # one layer, run again in the backward pass, each time by a pass of its own
            values = checkpoint(layer, values, use_reentrant=True)
        values.square().sum().backward()
    assert [grown[parameter] for parameter in trained] == [1, 2, 2, 0, 0]
