from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from peft_lightning.engine.compilation import CompiledLayers, CompileError, compiling_pays, repeated_layers


class Network(nn.Module):
    """Three like layers behind two that are not, and a pair that is shorter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()])
        self.pair = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.layers = nn.ModuleList([nn.LayerNorm(4) for _ in range(3)])

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            given = layer(given)
        return given


def test_the_layers_are_the_longest_list_of_like_ones() -> None:
    network = Network()
    assert repeated_layers(network) == list(network.layers)
    assert repeated_layers(nn.Linear(2, 2)) == []


def test_layers_are_compiled_inside_and_as_they_were_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def compile_(function: Any, **settings: Any) -> Any:
        compiled.append(settings)
        return lambda *given: function(*given) * 2

    monkeypatch.setattr(torch, "compile", compile_)
    network, given = Network(), torch.randn(5, 4, requires_grad=True)
    before = network(given)
    layers = CompiledLayers(network)
    for _ in range(2):
        with layers.lent():
            # Each layer norm puts the factor of the one before right again.
            assert torch.allclose(network(given), before * 2, atol=1e-4)
        assert torch.equal(network(given), before)
    # One shape for all: no width is compiled on its own.
    assert compiled == [{"dynamic": True}] * 3


@pytest.mark.parametrize("trained_below", [True, False])
def test_no_graph_is_compiled_for_the_layer_above_frozen_embeddings_alone(
    trained_below: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, graphs = torch.compile, []

    def counting(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda function, **settings: real(function, backend=counting, **settings))
    network = Network()
    layers = CompiledLayers(network)
    expected = network(torch.ones(5, 4))
    for rows in (5, 7):
        given = torch.ones(rows, 4, requires_grad=trained_below)
        with layers.lent():
            assert torch.allclose(network(given)[:5], expected)
    assert len(graphs) == 1


class Scaled(nn.Linear):
    """A layer with a number of its own, as LoRA's have."""

    def __init__(self, scaling: float) -> None:
        super().__init__(4, 4)
        self.scaling = scaling

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) * self.scaling


def test_numbers_of_a_layer_are_no_arguments_of_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    real, given_to = torch.compile, []

    def counting(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        given_to.append([value for value in inputs if isinstance(value, torch.Tensor)])
        return graph

    monkeypatch.setattr(torch, "compile", lambda function, **settings: real(function, backend=counting, **settings))
    network = nn.ModuleList([Scaled(0.3), Scaled(0.3)])
    layers = CompiledLayers(network)
    given = torch.ones(5, 4, requires_grad=True)
    with layers.lent():
        network[1](network[0](given))
    # A number would be a tensor without dimensions, on the CPU.
    assert [sorted(value.dim() for value in inputs) for inputs in given_to] == [[1, 2, 2]]


def test_where_no_layer_hands_gradients_on_nothing_is_said_to_be_compiled() -> None:
    network = Network().requires_grad_(False)
    layers = CompiledLayers(network)
    with pytest.raises(CompileError, match="no layer hands gradients on"), layers.lent():
        network(torch.ones(5, 4))
    assert all("forward" not in vars(layer) for layer in network.layers)


def test_layers_that_are_called_by_keyword_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: lambda *given, **named: "compiled")
    layers = CompiledLayers(Network())
    with layers.lent():
        given = torch.ones(5, 4, requires_grad=True)
        assert layers.layers[0].forward(mask=None, given=given) == "compiled"


def test_what_cannot_be_compiled_says_so_and_the_layers_are_put_back() -> None:
    network = Network()
    with pytest.raises(CompileError, match="no compiler"), CompiledLayers(network).lent():
        raise torch._dynamo.exc.TorchDynamoException("no compiler\nhere")
    assert all("forward" not in vars(layer) for layer in network.layers)


class Loud(nn.Linear):
    """A layer that the compiler cannot follow all through, as LoHa's, which asks a random number what to do."""

    def __init__(self) -> None:
        super().__init__(4, 4)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) if torch.rand(1) >= 0 else given


@pytest.mark.parametrize(("kind", "expected"), [(Loud, "Data-dependent branching"), (lambda: nn.Linear(4, 4), None)])
def test_what_splits_a_layer_is_told(
    kind: Callable[[], nn.Module], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **settings: real(function, backend="eager", **settings))
    network = nn.ModuleList([kind(), kind()])
    layers = CompiledLayers(network)
    with layers.lent():
        network[1](network[0](torch.ones(5, 4, requires_grad=True)))
    assert layers.split_by == expected


def test_a_compiler_that_loses_itself_has_not_compiled() -> None:
    network = Network()
    with pytest.raises(CompileError, match="recursion"), CompiledLayers(network).lent():
        raise RecursionError("maximum recursion depth exceeded")
    assert all("forward" not in vars(layer) for layer in network.layers)


def test_compiling_pays_in_long_jobs_and_large_batches() -> None:
    study = 12 * 768 * 8 * 256
    assert not compiling_pays(1_125, study)
    assert compiling_pays(1_000_000, study)
    assert compiling_pays(1_125, 200 * study)


def test_a_network_that_repeats_no_layer_says_so() -> None:
    with pytest.raises(CompileError, match="repeats no layer"), CompiledLayers(nn.Linear(2, 2)).lent():
        pass
