"""Every recipe's adapters, and full fine-tuning of every architecture, compute sharded what they compute whole."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import spawn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.engine.sharded_layers import refuse_unshardable
from peft_lightning.engine.sharded_tensors import whole
from peft_lightning.engine.sharding import ShardedStrategy
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, PEFT, FullFineTuning, IA3LoRA, LoRA, Method
from peft_lightning.methods.adaptation import load_adapted
from tests.methods.tiny_backbones import CONFIGS, save_backbone
from tests.methods.tiny_decoders import NAMED, save_decoder

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).resolve().parents[2] / "configs" / "peft"
# A tiny backbone is 32 wide.
SMALL: dict[str, dict[str, Any]] = {
    "C3A": {"block_size": 8}, "MISS": {"r": 8}, "PSOFT": {"r": 8}, "ROAD": {"group_size": 8}, "SHIRA": {"r": 4},
    "WAVEFT": {"n_frequency": 64}, "VBLORA": {"vector_length": 8, "num_vectors": 16},
}  # fmt: skip
# docs/sharding.md names them.
REFUSED = {"adalora", "lily", "tinylora", "unilora", "vblora"}
READ_TWICE = {"olora", "pissa", "shira"}
# Weights whose gradients are zero but for rounding move by whole steps of 1e-3 in AdamW, such as a key's bias.
TOLERANCE = 1e-4
Case = tuple[str, str, dict[str, Any] | None]


def cases() -> list[Case]:
    found: list[Case] = [(name, "roberta", None) for name in ("lora", "ia3", "ia3_lora")]
    found += [("full", architecture, None) for architecture in (*CONFIGS, *NAMED)]
    for path in sorted(RECIPES.glob("*.yaml")):
        config = yaml.safe_load(path.read_text())["model"]["method"]["init_args"].get("config")
        if config is not None:
            found.append((path.stem, "roberta", config | SMALL.get(config["peft_type"], {})))
    return found


def method_of(name: str, config: dict[str, Any] | None) -> Method:
    kinds = {"lora": LoRA, "ia3": IA3, "ia3_lora": IA3LoRA, "full": FullFineTuning}
    return PEFT(copy.deepcopy(config)) if config is not None else kinds[name]()


def three_steps(network: nn.Module) -> list[float]:
    """The losses and the norms of the gradients of three clipped steps, without dropout."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    tokens = torch.randint(5, 60, (4, 12), generator=torch.Generator().manual_seed(1))
    tokens[:, -1] = 2  # T5 and BART want an end in every row
    found: list[float] = []
    for step in range(3):
        torch.manual_seed(step)  # PVeRA draws
        logits = network(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits.float()
        loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1]))
        loss.backward()
        found += [float(loss), float(whole(nn.utils.clip_grad_norm_(trained, 0.5)))]
        optimizer.step()
        optimizer.zero_grad()
    return found


def can_be_sharded(network: nn.Module) -> bool:
    try:
        refuse_unshardable(network)
    except UserError:
        return False
    return True


def compare(rank: int, folder: Path) -> None:
    """Takes the steps of every case twice, whole and shared by two processes; one writes what differs."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    lines, read_twice = [], list[str]()
    for name, architecture, config in cases():
        networks: list[nn.Module] = []
        # The first process has the values of the other's shared network too, but where a method computes with them.
        for device in ("cpu", "meta" if rank else "cpu"):
            torch.manual_seed(0)
            method = method_of(name, config)
            backbone = Backbone(str(folder / architecture), None, "sdpa", device=torch.device(device))
            networks.append(load_adapted(method, backbone, 2).eval())
        if device == "meta" and not any(value.is_meta for value in networks[1].parameters()):
            read_twice.append(name)
        if method.needs_whole_weights or not can_be_sharded(networks[1]):
            lines.append(f"{name} refused")
            continue
        strategy = ShardedStrategy()
        strategy._device_mesh, strategy.parallel_devices = mesh, [torch.device("cpu")]
        strategy.shard(networks[1])
        steps = [torch.tensor(three_steps(network.train())) for network in networks]
        pairs = [steps, *zip(*(map(_values, network.parameters()) for network in networks), strict=True)]
        most = max(float((one - other).abs().max()) for one, other in pairs if one.numel())
        lines.append(f"{name} {architecture} {'same' if most < TOLERANCE else f'differs by {most:.1e}'}")
    (folder / f"found_{rank}.txt").write_text("\n".join(lines))
    (folder / f"read_twice_{rank}.txt").write_text(" ".join(read_twice))
    distributed.destroy_process_group()


def _values(parameter: Tensor) -> Tensor:
    return whole(parameter.detach()).float()


def test_every_method_and_architecture_is_the_same_or_refused(tmp_path: Path) -> None:
    for architecture in CONFIGS:
        save_backbone(architecture, tmp_path / architecture)
    for architecture in NAMED:
        save_decoder(architecture, tmp_path / architecture)
    spawn(compare, (tmp_path,), nprocs=2)
    lines = (tmp_path / "found_0.txt").read_text().splitlines()
    assert lines == (tmp_path / "found_1.txt").read_text().splitlines()
    assert len(lines) == len(cases()) > 60
    assert {line.split()[0] for line in lines if line.endswith("refused")} == REFUSED
    assert [line for line in lines if "differs" in line] == []
    assert set((tmp_path / "read_twice_1.txt").read_text().split()) == READ_TWICE
