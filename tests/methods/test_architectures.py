"""Every encoder trains with every method, or one line says why not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, FullFineTuning, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import trainable_names
from tests.methods.tiny_backbones import CONFIGS, batch

NEW = {
    "roberta": {"classifier.dense", "classifier.out_proj"},
    "xlm-roberta": {"classifier.dense", "classifier.out_proj"},
    "electra": {"classifier.dense", "classifier.out_proj"},
    "bert": {"classifier", "bert.pooler.dense"},
    "albert": {"classifier", "albert.pooler"},
    "deberta-v2": {"classifier", "pooler.dense"},
    "distilbert": {"classifier", "pre_classifier"},
    "modernbert": {"classifier", "head.dense"},
}
# What is left to the user where PEFT has no choice of its own.
TARGETS: dict[tuple[type[Method], str], dict[str, list[str]]] = {
    (LoRA, "distilbert"): {"target_modules": ["q_lin", "v_lin"]},
    (QLoRA, "distilbert"): {"target_modules": ["q_lin", "k_lin", "v_lin"]},
    (LoRA, "modernbert"): {"target_modules": ["Wqkv"]},
    (QLoRA, "modernbert"): {"target_modules": ["Wqkv"]},
    (IA3, "xlm-roberta"): {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    (IA3, "electra"): {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    (IA3, "albert"): {"target_modules": ["key", "value", "ffn_output"], "feedforward_modules": ["ffn_output"]},
    (IA3, "distilbert"): {"target_modules": ["k_lin", "v_lin", "ffn.lin2"], "feedforward_modules": ["ffn.lin2"]},
    (IA3, "modernbert"): {"target_modules": ["Wqkv", "mlp.Wo"], "feedforward_modules": ["mlp.Wo"]},
}
GetBackbone = Callable[..., Backbone]


@pytest.mark.parametrize("model_type", CONFIGS)
@pytest.mark.parametrize("method", [FullFineTuning, LoRA, QLoRA, IA3])
def test_trains_after_an_evaluation(method: type[Method], model_type: str, tiny_backbone: GetBackbone) -> None:
    chosen = method(**TARGETS.get((method, model_type), {}))
    torch.manual_seed(0)
    model = chosen.adapt(chosen.load_backbone(tiny_backbone(model_type), num_labels=3))
    model.eval()
    with torch.no_grad():
        assert model(**batch()).logits.shape == (4, 3)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    nn.functional.cross_entropy(model(**batch()).logits, torch.tensor([0, 1, 2, 1])).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved <= set(trainable_names(model))
    for module in NEW[model_type]:
        assert any(name.endswith("weight") and _within(name, module) for name in moved), f"{module} stays random"


@pytest.mark.parametrize("model_type", CONFIGS)
def test_adapters_stay_out_of_the_head(model_type: str, tiny_backbone: GetBackbone) -> None:
    method = LoRA(target_modules="all-linear")
    model = method.adapt(method.load_backbone(tiny_backbone(model_type), num_labels=3))
    adapted = {name.split(".lora_")[0] for name in trainable_names(model) if ".lora_" in name}
    assert adapted
    assert not [name for name in adapted if any(_within(f"{name}.", module) for module in NEW[model_type])]
    whole = [name for name in trainable_names(model) if ".lora_" not in name]
    assert all(any(_within(name, module) for module in _roots(model_type)) for name in whole)


@pytest.mark.parametrize("model_type", sorted({model_type for _, model_type in TARGETS}))
def test_one_line_where_peft_has_no_choice(model_type: str, tiny_backbone: GetBackbone) -> None:
    method = IA3()
    with pytest.raises(UserError, match=r"use target_modules=\[\.\.\.\] with some of: ") as raised:
        method.adapt(method.load_backbone(tiny_backbone(model_type), num_labels=3))
    assert "\n" not in str(raised.value)
    assert TARGETS[IA3, model_type]["target_modules"][0] in str(raised.value)


def _roots(model_type: str) -> set[str]:
    return {*NEW[model_type], "head", "pooler", "classifier"} - (
        {"pooler"} if model_type in ("bert", "albert") else set()
    )


def _within(parameter: str, module: str) -> bool:
    """Whether a parameter is the module's, in the original model or in PEFT's trained copy of a parent."""
    plain = parameter.replace("modules_to_save.default.", "").removeprefix("base_model.model.")
    return plain.startswith(f"{module}.")
