from __future__ import annotations

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from peft_lightning.engine.casting import cast_together
from peft_lightning.engine.compilation import CompiledLayers

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(32, 64), nn.Linear(64, 32, bias=False), nn.LayerNorm(32)

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.norm(values + self.down(F.gelu(self.up(values))))
        return result


class Network(nn.Module):
    """Two layers, words whose weights give the scores too, and a linear layer that nothing goes through."""

    def __init__(self, recomputes: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(16, 32)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.scores = nn.Linear(32, 16, bias=False)
        self.scores.weight = self.words.weight
        self.unused = nn.Linear(32, 2)
        self.recomputes = recomputes

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.words(tokens)
        for layer in self.layers:
            values = checkpoint(layer, values, use_reentrant=False) if self.recomputes else layer(values)
        return F.cross_entropy(self.scores(values).float().flatten(0, 1), tokens.flatten())


def network(recomputes: bool = False, device: str = "cpu") -> Network:
    torch.manual_seed(0)
    return Network(recomputes).to(device)


def step(model: Network, together: bool, width: int = 6) -> tuple[Tensor, dict[str, Tensor | None]]:
    tokens = torch.arange(4 * width, device=model.words.weight.device).view(4, width) % 16
    kind = tokens.device.type
    with cast_together(model, torch.bfloat16) if together else nullcontext():
        with torch.autocast(kind, torch.bfloat16):
            loss = model(tokens)
        loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("recomputes", [False, True])
def test_loss_and_gradients_are_the_same_bits(recomputes: bool, device: str) -> None:
    expected_loss, expected = step(network(recomputes, device), together=False)
    loss, gradients = step(network(recomputes, device), together=True)
    assert torch.equal(loss, expected_loss)
    assert expected["unused.weight"] is None
    for name, gradient in expected.items():
        given = gradients[name]
        if gradient is None:
            assert given is None, name
        else:
            assert given is not None, name
            assert (given.dtype, given.stride()) == (torch.float32, gradient.stride()), name
            assert torch.equal(given, gradient), name


def test_what_was_lent_is_taken_back() -> None:
    model = network()
    weights = dict(model.named_parameters())
    seen: list[torch.dtype] = []

    def fail(layer: Layer, given: object) -> None:
        seen.append(layer.up.weight.dtype)
        raise ZeroDivisionError

    model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        step(model, together=True)
    assert seen == [torch.bfloat16]
    assert all(weight is weights[name] for name, weight in model.named_parameters())


def test_other_weights_are_left_alone() -> None:
    model = network()
    first, second = (layer for layer in model.layers if isinstance(layer, Layer))
    first.requires_grad_(False)
    second.up.to(torch.bfloat16)
    with cast_together(model, torch.bfloat16):
        assert isinstance(first.up.weight, nn.Parameter)
        assert isinstance(second.up.weight, nn.Parameter)
        assert second.norm.weight.dtype == model.words.weight.dtype == torch.float32
        assert second.down.weight.dtype == torch.bfloat16
    frozen = copy.deepcopy(model).requires_grad_(False)
    with cast_together(frozen, torch.bfloat16):
        assert all(isinstance(weight, nn.Parameter) for weight in frozen.parameters())


class Casts(TorchDispatchMode):
    """Counts what casts tensors of two dimensions, which here are weights and their gradients, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.overloadpacket.__name__
        if name == "_foreach_copy_" or (name == "_to_copy" and args[0].dim() == 2):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def test_all_are_cast_by_one_call_and_their_gradients_by_another() -> None:
    with Casts() as apart:
        step(network(), together=False)
    with Casts() as together:
        step(network(), together=True)
    assert apart.counts["_to_copy"] >= 10
    assert together.counts == {"_foreach_copy_": 2}


def test_one_graph_is_compiled_for_all_layers_and_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    real, shapes = torch.compile, []

    def watched(graph: torch.fx.GraphModule, inputs: list[object]) -> torch.fx.GraphModule:
        given = [node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"]
        shapes.append([tuple(value.shape) for value in given if isinstance(value, Tensor)])
        return graph

    monkeypatch.setattr(torch, "compile", lambda forward, **settings: real(forward, backend=watched, **settings))
    plain, compiled = network(), network()
    layers = CompiledLayers(compiled)
    for width in (6, 9, 12):
        plain.zero_grad()
        compiled.zero_grad()
        expected, _ = step(plain, together=False, width=width)
        with layers.lent():
            loss, _ = step(compiled, together=True, width=width)
        assert torch.equal(loss, expected)
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        if one.grad is None or other.grad is None:
            assert one.grad is other.grad
        else:
            assert torch.equal(one.grad, other.grad)
    # A weight of any size would get slower kernels.
    (graph,) = shapes
    assert [shape for shape in graph if shape[0] == 64] == [(64, 32), (64,)]
