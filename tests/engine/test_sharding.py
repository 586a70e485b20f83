"""Weights sharded by FSDP2; tests/integration/test_sharded_processes.py has two processes share them."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.plugins import MixedPrecision
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from peft_lightning.__main__ import main
from peft_lightning.engine import spread_network
from peft_lightning.engine.compilation import CompiledLayers
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.sharded_engine import ShardedEngine
from peft_lightning.engine.sharded_layers import layers_of, refuse_unshardable, stacks_of
from peft_lightning.engine.sharded_tensors import all_finite, own_part, whole
from peft_lightning.engine.sharding import ShardedStrategy, building_device
from peft_lightning.engine.spread_network import kept_layers
from peft_lightning.errors import UserError
from tests.commands.test_fit import without_dropout
from tests.integration.offline_run import checkpoint, only_run, record, same
from tests.processes import in_processes


class Layer(nn.Module):
    """A layer that adds what two linear layers make of its input, the first of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.trained = nn.Linear(4, 6), nn.Linear(6, 4)
        self.frozen.requires_grad_(False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = values + self.trained(self.frozen(values).relu())
        return found


class Network(nn.Module):
    """Layers between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.body = nn.Sequential(nn.LayerNorm(4))
        self.layers: Any = nn.ModuleList([Layer() for _ in range(3)])
        self.head = nn.Linear(4, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values = self.body(self.embedding(tokens))
        for layer in self.layers:
            values = layer(values)
        logits: torch.Tensor = self.head(values)
        return logits


@pytest.fixture(autouse=True)
def without_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends the group of one process that a test has started."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def strategy(tmp_path: Path) -> ShardedStrategy:
    """A strategy of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    made = ShardedStrategy()
    made._device_mesh = init_device_mesh("cpu", (1,), mesh_dim_names=("data_parallel",))
    made.parallel_devices = [torch.device("cpu")]
    return made


def test_a_run_computes_what_it_computes_unsharded(
    tiny_fit: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Without dropout: on a CPU the engine of whole weights draws its masks in another way.
    still = ("--model.model_name_or_path", without_dropout(tmp_path / "still"), "--model.method.lora_dropout", "0")
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for folder, more in (("plain", ()), ("sharded", ("--trainer.strategy", "fsdp2", "--trainer.devices", "1"))):
        main([*tiny_fit, *still, "--trainer.default_root_dir", folder, *more])
        trained = only_run(Path(folder))
        found.append((record(trained), checkpoint(trained / "checkpoints/last.ckpt")))
    (plain, before), (sharded, after) = found
    for section in ("metrics", "params", "dataset"):
        assert sharded[section] == plain[section], section
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(before[part], after[part]), part
    assert sharded["engine"]["name"] == "eager"
    assert ["run eager" in note for note in sharded["notes"]] == [True]
    assert plain["notes"] == []
    assert "run eager" in capfd.readouterr().out


class Sharing(Network):
    """Layers share a buffer that is in no checkpoint, and two modules beside them a weight."""

    def __init__(self, first: int) -> None:
        super().__init__()
        steps = torch.arange(3) + first
        for layer in self.layers:
            layer.register_buffer("steps", steps, persistent=False)
        self.tied = nn.Embedding(8, 4)
        self.tied.weight = self.embedding.weight


def of_this_process() -> ShardedStrategy:
    """The strategy of one of several processes, which have joined a group."""
    strategy, environment, processes = ShardedStrategy(), LightningEnvironment(), dist.get_world_size()
    environment.set_global_rank(dist.get_rank())
    strategy.cluster_environment, strategy.parallel_devices = environment, [torch.device("cpu")] * processes
    strategy._device_mesh = init_device_mesh("cpu", (processes,), mesh_dim_names=("data_parallel",))
    return strategy


def share_out(folder: Path) -> tuple[str, dict[str, torch.Tensor], list[bool]]:
    """What a process builds its network for, and of the sharded network the whole values and what is trained."""
    strategy = of_this_process()
    device = building_device(strategy)
    torch.manual_seed(dist.get_rank())
    with device:
        network = Sharing(first=dist.get_rank())
    if dist.get_rank() == 0:
        torch.save(network.state_dict(), folder / "first.pt")
    strategy.shard(network)
    assert network.layers[0].steps is network.layers[2].steps
    assert network.tied.weight is network.embedding.weight
    values = {name: whole(value.detach()) for name, value in network.state_dict().items()}
    trained = [value.requires_grad for value in network.parameters()]
    return device.type, values | {"steps": network.layers[1].steps}, trained


def test_only_the_first_process_needs_the_weights(tmp_path: Path) -> None:
    first, second = in_processes(2, share_out, tmp_path)
    assert (first[0], second[0]) == ("cpu", "meta")
    assert same(first[1:], second[1:])
    assert first[1].pop("steps").tolist() == [0, 1, 2]
    assert same(first[1], dict(torch.load(tmp_path / "first.pt")))
    assert first[2].count(False) == 6


def test_layers_are_sharded_one_by_one_and_the_rest_together(strategy: ShardedStrategy) -> None:
    network = Network()
    assert layers_of(network) == list(network.layers)
    strategy.shard(network)
    groups = [type(module).__name__ for module in network.modules() if type(module).__name__.startswith("FSDP")]
    assert sorted(groups) == ["FSDPLayer"] * 3 + ["FSDPNetwork"]
    # After an evaluation too the weights are those that the optimiser and checkpoints have.
    before = list(network.parameters())
    with torch.no_grad():
        network(torch.arange(4))
    assert all(one is other for one, other in zip(before, network.parameters(), strict=True))
    strategy.shard(network)
    assert all(one is other for one, other in zip(before, network.parameters(), strict=True))


def test_of_lists_within_a_list_the_innermost_hold_the_layers(strategy: ShardedStrategy) -> None:
    network = Network()
    blocks = [[Layer(), Layer()] for _ in range(3)]
    network.blocks = nn.ModuleList([nn.ModuleList(block) for block in blocks])
    assert stacks_of(network) == [list(network.layers), *blocks]
    strategy.shard(network)  # FSDP2 takes no lists


def test_layers_within_layers_are_no_parts_of_their_own() -> None:
    network = Network()
    network.layers[0].experts = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    assert layers_of(network) == list(network.layers)


def test_only_where_every_weight_is_trained_layers_are_gathered_in_16_bits(strategy: ShardedStrategy) -> None:
    strategy.precision_plugin = MixedPrecision("bf16-mixed", "cpu")
    seen = []
    for trains_all in (True, False):
        network = Network()
        if trains_all:
            network.requires_grad_(True)
        strategy.shard(network)
        network.layers[1].trained.register_forward_hook(lambda layer, *_: seen.append(layer.weight.dtype))
        with strategy.precision_plugin.train_step_context():
            network(torch.arange(4)).float().sum().backward()
        assert {value.grad.dtype for value in network.parameters() if value.grad is not None} == {torch.float32}
    assert seen == [torch.bfloat16, torch.float32]


def test_a_broken_weight_is_seen_in_any_process(strategy: ShardedStrategy) -> None:
    network = Network()
    strategy.shard(network)
    assert all_finite(network.parameters())
    with torch.no_grad():
        own_part(network.head.bias)[1] = torch.nan
    assert not all_finite(network.parameters())
    assert whole(network.head.bias).isnan().tolist() == [False, True]


def test_what_has_no_rows_of_its_own_is_refused() -> None:
    shared, packed, single = Network(), Network(), Network()
    shared.layers[2].trained = shared.layers[0].trained
    packed.layers[0].frozen.weight = nn.Parameter(torch.zeros(12, 1, dtype=torch.uint8), requires_grad=False)
    single.scale = nn.Parameter(torch.tensor(1.0))
    for network, why in ((shared, "belongs to several"), (packed, "packed numbers"), (single, "single number")):
        with pytest.raises(UserError, match=rf"{why}.*strategy='ddp'"):
            refuse_unshardable(network)
    refuse_unshardable(Network())


def step_of(compiles: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The gradients of a sharded network's second step, and its answer afterwards."""
    strategy = of_this_process()
    torch.manual_seed(0)
    network = Network().requires_grad_(True)
    strategy.shard(network)
    tokens = torch.arange(4) + dist.get_rank()
    layers = CompiledLayers(network)
    for _ in range(2):
        network.zero_grad()
        with layers.lent() if compiles else nullcontext():
            loss = network(tokens).square().sum()
        with layers.lent() if compiles else nullcontext():
            loss.backward()
    assert layers.split_by is None
    with torch.no_grad():
        answer = network(tokens)
    return {name: whole(value.grad) for name, value in network.named_parameters() if value.grad is not None}, answer


@pytest.mark.parametrize("asked", ["auto", "compiled"])
def test_where_no_layer_hands_gradients_on_none_is_compiled(strategy: ShardedStrategy, asked: EngineName) -> None:
    network = Network().requires_grad_(False)
    network.head.requires_grad_(True)
    engine = ShardedEngine(strategy, asked)
    engine._layers = CompiledLayers(network)

    def step() -> None:
        with engine.layers():
            loss = network(torch.arange(4)).sum()
        with engine.layers():
            loss.backward()

    if asked == "compiled":
        with pytest.raises(UserError, match="no layer hands gradients on"):
            step()
    else:
        step()
        assert engine.figures(8).name == "eager"


@pytest.mark.slow
def test_compiled_layers_compute_what_uncompiled_ones_do() -> None:
    (eager, answer), (compiled, other) = (in_processes(2, step_of, compiles)[1] for compiles in (False, True))
    assert len(eager) == 17
    for name, gradient in eager.items():
        assert torch.allclose(gradient, compiled[name], atol=1e-5), name
    assert torch.equal(answer, other)


def test_the_last_layers_stay_gathered_as_far_as_there_is_room(
    strategy: ShardedStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(value.nbytes for value in Layer().parameters())
    gradients = []
    for room in (0, 2 * size, 10 * size):
        torch.manual_seed(0)
        network = Network().requires_grad_(True)
        kept = kept_layers(stacks_of(network), room, None)
        assert kept == list(network.layers)[::-1][: room // size]
        assert kept_layers(stacks_of(network), room, torch.bfloat16) == list(network.layers)[::-1][: 2 * room // size]
        monkeypatch.setattr(spread_network, "_room_beside", lambda *_, room=room: room)
        strategy.shard(network)
        before = list(network.parameters())
        loss = network(torch.arange(4)).square().sum()
        gathered = [layer for layer in network.layers if not isinstance(layer.trained.weight, DTensor)]
        assert gathered == kept[::-1]
        loss.backward()
        # After a step and after an evaluation the weights are those that the optimiser and checkpoints have.
        for _ in range(2):
            assert all(one is other for one, other in zip(before, network.parameters(), strict=True))
            with torch.no_grad():
                network(torch.arange(4))
        gradients.append([whole(value.grad) for value in before if value.grad is not None])
    assert same(gradients[0], gradients[1])
    assert same(gradients[0], gradients[2])
