from __future__ import annotations

from pathlib import Path

import pytest
import torch

from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods import FullFineTuning, LoRA, QLoRA
from peft_lightning.methods.parameters import count_parameters, logical_numel, trainable_names
from tests.methods.tiny_backbones import save_backbone


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return Backbone(str(save_backbone("bert", tmp_path_factory.mktemp("bert"))))


@pytest.fixture(scope="module")
def total(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.load(2).parameters())


@pytest.mark.parametrize(
    "method",
    [FullFineTuning(), LoRA(), LoRA(use_dora=True), LoRA(bias="all"), LoRA(bias="lora_only"), QLoRA(), QLoRA(r=1)],
    ids=["full", "lora", "dora", "lora+bias", "lora+its bias", "qlora", "qlora r 1"],
)
def test_total_is_the_original_model(method: FullFineTuning | LoRA, backbone: Backbone, total: int) -> None:
    model = method.adapt(method.load_backbone(backbone, 2))
    counts = count_parameters(model)
    named = dict(model.named_parameters())
    assert counts.total == total
    assert counts.trainable == sum(named[name].numel() for name in trainable_names(model))
    assert counts.trainable_percent == 100 * counts.trainable / total
    # The classifier, and the pooler that a masked language model comes without.
    assert counts.head == (32 * 2 + 2) + (32 * 32 + 32)
    assert counts.adapter == (0 if method.name == "full" else counts.trainable - counts.head)


def test_magnitudes_of_dora_belong_to_the_adapter(backbone: Backbone) -> None:
    counts = {
        dora: count_parameters((method := LoRA(use_dora=dora)).adapt(method.load_backbone(backbone, 2))).adapter
        for dora in (False, True)
    }
    assert counts[True] - counts[False] == 2 * 2 * 32


def test_a_4bit_weight_counts_all_it_stands_for(backbone: Backbone) -> None:
    model = QLoRA().load_backbone(backbone, 2)
    weight = model.get_parameter("bert.encoder.layer.0.intermediate.dense.weight")
    assert weight.dtype == torch.uint8
    assert (weight.numel(), logical_numel(weight)) == (32 * 48 // 2, 32 * 48)


def test_names_come_in_the_models_order(backbone: Backbone, tmp_path: Path) -> None:
    method = LoRA()
    model = method.adapt(method.load_backbone(backbone, 2))
    order = [name for name, _ in model.named_parameters()]
    names = trainable_names(model)
    assert names == sorted(names, key=order.index)
    assert not [name for name in names if "original_module" in name]
