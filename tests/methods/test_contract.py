"""What every method keeps, whatever it does: a new method joins by a row in METHODS."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import peft_lightning.methods
from peft_lightning.methods import IA3, FullFineTuning, HeadOnly, LoRA, Method, QLoRA
from peft_lightning.model.backbones import Backbone
from peft_lightning.model.parameters import count_parameters, trainable_names
from tests.methods.tiny_backbones import batch

METHODS: list[type[Method]] = [FullFineTuning, LoRA, QLoRA, IA3, HeadOnly]
LABELS = torch.tensor([0, 1, 2, 1])
# A layer is 32 wide, its feed-forward 48, there are two of them; the head is dense 32→32 and projection 32→3.
HEAD = 32 * 32 + 32 + 32 * 3 + 3
ADAPTERS = {"full": 0, "lora": 2 * 2 * 16 * 64, "qlora": 2 * 3 * 8 * 64, "ia3": 2 * (32 + 32 + 32 + 48), "head": 0}

GetBackbone = Callable[..., Backbone]


def adapted(method: Method, backbone: Backbone) -> nn.Module:
    torch.manual_seed(0)
    return method.adapt(method.load_backbone(backbone, num_labels=3))


def train_step(model: nn.Module, learning_rate: float = 1e-2) -> torch.Tensor:
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    loss = nn.functional.cross_entropy(model(**batch()).logits, LABELS)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def logits(model: nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        result: torch.Tensor = model(**batch()).logits
    return result


def test_every_exported_method_is_tested() -> None:
    exported = [getattr(peft_lightning.methods, name) for name in peft_lightning.methods.__all__]
    assert {method for method in exported if not inspect.isabstract(method)} == set(METHODS)
    assert len({method.name for method in METHODS}) == len(METHODS)


@pytest.mark.parametrize("method", METHODS)
class TestContract:
    def test_forward_gives_a_row_of_logits_per_example(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        assert logits(adapted(method(), tiny_backbone())).shape == (4, 3)

    def test_one_step_moves_trainable_weights_alone(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        model = adapted(method(), tiny_backbone())
        before = {name: value.clone() for name, value in model.state_dict().items()}
        train_step(model)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        trainable = set(trainable_names(model))
        assert moved <= trainable
        head = {name for name in trainable if "classifier" in name}
        assert head
        assert head <= moved
        assert bool(moved - head) == (method is not HeadOnly), "nothing but the head moved, or more than that"

    def test_head_is_trained_in_32_bits(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        model = adapted(method(), tiny_backbone())
        trainable = dict(model.named_parameters())
        assert {trainable[name].dtype for name in trainable_names(model)} == {torch.float32}

    def test_loss_falls(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        model = adapted(method(), tiny_backbone())
        losses = [train_step(model) for _ in range(12)]
        assert losses[-1] < 0.8 * losses[0]

    def test_counts_are_exact(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        original = tiny_backbone().load(num_labels=3)
        total = sum(parameter.numel() for parameter in original.parameters())
        counts = count_parameters(adapted(method(), tiny_backbone()))
        assert (counts.head, counts.adapter, counts.total) == (HEAD, ADAPTERS[method.name], total)
        assert counts.trainable == (total if method is FullFineTuning else counts.head + counts.adapter)
        assert counts.trainable_percent == pytest.approx(100 * counts.trainable / total)

    def test_same_seed_gives_every_method_the_same_head(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        def head(some: Method) -> torch.Tensor:
            torch.manual_seed(0)
            return some.load_backbone(tiny_backbone(), num_labels=3).get_parameter("classifier.out_proj.weight")

        assert torch.equal(head(method()), head(FullFineTuning()))

    def test_gradient_checkpointing_changes_no_gradient(self, method: type[Method], tiny_backbone: GetBackbone) -> None:
        gradients = []
        for checkpointing in (False, True):
            model = adapted(method(), tiny_backbone())
            if checkpointing:
                model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
            torch.manual_seed(3)
            nn.functional.cross_entropy(model(**batch()).logits, LABELS).backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        plain, checkpointed = gradients
        assert plain.keys() == checkpointed.keys()
        assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


_REBUILD = """
import sys, torch
from peft_lightning import methods
from peft_lightning.model.backbones import Backbone
from tests.methods.tiny_backbones import batch
folder, backbone = sys.argv[1:]
for name in ["FullFineTuning", "LoRA", "QLoRA", "IA3", "HeadOnly"]:
    torch.manual_seed(999)
    method = getattr(methods, name)()
    model = method.adapt(method.load_backbone(Backbone(backbone), num_labels=3))
    state = torch.load(f"{folder}/{method.name}.pt", weights_only=True)
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    with torch.no_grad():
        torch.save(model.eval()(**batch()).logits, f"{folder}/{method.name}.logits.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["roberta", "bert"])
def test_trainable_weights_alone_rebuild_the_model_in_a_fresh_process(
    model_type: str, tiny_backbone: GetBackbone, tmp_path: Path
) -> None:
    expected = {}
    for method in METHODS:
        model = adapted(method(), tiny_backbone(model_type))
        train_step(model)
        expected[method.name] = logits(model)
        state = model.state_dict()
        torch.save({name: state[name] for name in trainable_names(model)}, tmp_path / f"{method.name}.pt")
    folder = tiny_backbone(model_type).name_or_path
    subprocess.run([sys.executable, "-c", _REBUILD, str(tmp_path), folder], check=True, cwd=Path.cwd(), timeout=120)
    for name, value in expected.items():
        assert torch.equal(torch.load(tmp_path / f"{name}.logits.pt", weights_only=True), value), name
