"""What every method keeps, whatever it does: a new method joins by a row in METHODS.

PEFT's types keep the same in test_peft_types.py.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import pytest
import torch
from torch import nn

import peft_lightning.methods
from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.half_width import BackboneDtype, is_held_in_bfloat16
from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods import IA3, PEFT, FullFineTuning, HeadOnly, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import count_parameters, trainable_names
from tests.methods.conftest import PRECISION
from tests.methods.tiny_backbones import batch
from tests.samples import mostly_slow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METHODS: list[type[Method]] = [FullFineTuning, LoRA, QLoRA, IA3, IA3LoRA, HeadOnly]
LABELS = torch.tensor([0, 1, 2, 1])
DTYPES = get_args(BackboneDtype)
# Wide enough for embeddings in four bits; the feed-forward is 48, there are two layers.
WIDTH = 64
# Dense and projection to three classes.
HEAD = WIDTH * WIDTH + WIDTH + WIDTH * 3 + 3
ADAPTERS = {
    "full": 0,
    "lora": 2 * 2 * 16 * 2 * WIDTH,
    "qlora": 2 * 3 * 8 * 2 * WIDTH,
    "ia3": 2 * (3 * WIDTH + 48),
    "ia3_lora": 2 * 2 * 16 * 2 * WIDTH + 2 * (3 * WIDTH + 48),
    "head": 0,
}

GetBackbone = Callable[..., Backbone]


def adapted(method: Method, backbone: Backbone) -> nn.Module:
    torch.manual_seed(0)
    return method.adapt(method.load_backbone(backbone, num_labels=3))


def scores(model: nn.Module) -> torch.Tensor:
    """Logits of the batch, computed as the precision computes that such a backbone asks for."""
    with torch.autocast("cpu", torch.bfloat16, enabled=is_held_in_bfloat16(model)):
        result: torch.Tensor = model(**batch()).logits.float()
    return result


def train_step(model: nn.Module, learning_rate: float = 1e-2) -> torch.Tensor:
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    loss = nn.functional.cross_entropy(scores(model), LABELS)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def logits(model: nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return scores(model)


def test_every_exported_method_is_tested() -> None:
    exported = [getattr(peft_lightning.methods, name) for name in peft_lightning.methods.__all__]
    assert {method for method in exported if not inspect.isabstract(method)} == {*METHODS, PEFT}
    assert len({method.name for method in METHODS}) == len(METHODS)


# The smallest form is bf16 but for what the methods pack further, which tests of their own cover.
@pytest.fixture(params=mostly_slow(DTYPES, fast=DTYPES[:2]))
def backbone(tiny_backbone: GetBackbone, request: pytest.FixtureRequest) -> Backbone:
    return tiny_backbone(width=WIDTH, dtype=request.param)


@pytest.mark.parametrize("method", METHODS)
class TestContract:
    def test_forward_gives_a_row_of_logits_per_example(self, method: type[Method], backbone: Backbone) -> None:
        assert logits(adapted(method(), backbone)).shape == (4, 3)

    def test_one_step_moves_trainable_weights_alone(self, method: type[Method], backbone: Backbone) -> None:
        model = adapted(method(), backbone)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        train_step(model)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        trainable = set(trainable_names(model))
        assert moved <= trainable
        head = {name for name in trainable if "classifier" in name}
        assert head
        assert head <= moved
        assert bool(moved - head) == (method is not HeadOnly), "nothing but the head moved, or more than that"

    def test_head_is_trained_in_32_bits(self, method: type[Method], backbone: Backbone) -> None:
        model = adapted(method(), backbone)
        trainable = dict(model.named_parameters())
        # Full fine-tuning trains the backbone's own weights; an adapter is no part of the backbone.
        whole = [name for name in trainable_names(model) if method is not FullFineTuning or "classifier" in name]
        assert {trainable[name].dtype for name in whole} == {torch.float32}

    def test_loss_falls(self, method: type[Method], backbone: Backbone) -> None:
        model = adapted(method(), backbone)
        losses = [train_step(model) for _ in range(12)]
        assert losses[-1] < 0.8 * losses[0]

    def test_counts_are_exact(self, method: type[Method], backbone: Backbone) -> None:
        original = replace(backbone, dtype="float32").load(num_labels=3)
        total = sum(parameter.numel() for parameter in original.parameters())
        counts = count_parameters(adapted(method(), backbone))
        assert (counts.head, counts.adapter, counts.total) == (HEAD, ADAPTERS[method().name], total)
        assert counts.trainable == (total if method is FullFineTuning else counts.head + counts.adapter)
        assert counts.trainable_percent == pytest.approx(100 * counts.trainable / total)

    def test_same_seed_gives_every_method_the_same_head(self, method: type[Method], backbone: Backbone) -> None:
        def head(some: Method, on: Backbone) -> torch.Tensor:
            torch.manual_seed(0)
            return some.load_backbone(on, num_labels=3).get_parameter("classifier.out_proj.weight")

        assert torch.equal(head(method(), backbone), head(FullFineTuning(), replace(backbone, dtype="float32")))

    def test_gradient_checkpointing_changes_no_gradient(self, method: type[Method], backbone: Backbone) -> None:
        gradients = []
        for checkpointing in (False, True):
            model = adapted(method(), backbone)
            if checkpointing:
                recompute_activations(cast("PreTrainedModel", model))
            model.train()
            torch.manual_seed(3)
            nn.functional.cross_entropy(scores(model), LABELS).backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        plain, checkpointed = gradients
        assert plain.keys() == checkpointed.keys() == set(trainable_names(model))
        assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


_REBUILD = """
import sys, torch
from peft_lightning import methods
from peft_lightning.backbone.loading import Backbone
from tests.methods.tiny_backbones import batch
from peft_lightning.backbone.precision import compute_dtype
folder, backbone, dtype, precision = sys.argv[1:]
for name in ["FullFineTuning", "LoRA", "QLoRA", "IA3", "IA3LoRA", "HeadOnly"]:
    torch.manual_seed(999)
    method = getattr(methods, name)()
    on = Backbone(backbone, dtype=dtype, compute_dtype=compute_dtype(precision))
    model = method.adapt(method.load_backbone(on, num_labels=3))
    state = torch.load(f"{folder}/{method.name}.pt", weights_only=True)
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        torch.save(model.eval()(**batch()).logits.float(), f"{folder}/{method.name}.logits.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", ["roberta", "bert"])
def test_trainable_weights_alone_rebuild_the_model_in_a_fresh_process(
    model_type: str, dtype: BackboneDtype, tiny_backbone: GetBackbone, tmp_path: Path
) -> None:
    backbone = tiny_backbone(model_type, width=WIDTH, dtype=dtype)
    expected = {}
    for method in METHODS:
        model = adapted(method(), backbone)
        train_step(model)
        expected[method.name] = logits(model)
        state = model.state_dict()
        torch.save({name: state[name] for name in trainable_names(model)}, tmp_path / f"{method.name}.pt")
    words = [str(tmp_path), backbone.name_or_path, dtype, PRECISION[dtype]]
    subprocess.run([sys.executable, "-c", _REBUILD, *words], check=True, cwd=Path.cwd(), timeout=1000)
    for name, value in expected.items():
        assert torch.equal(torch.load(tmp_path / f"{name}.logits.pt", weights_only=True), value), name
