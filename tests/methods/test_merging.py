"""What leaves a method: an adapter that plain PEFT loads with the same answers, and a plain model that gives them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation, packed_as
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, PEFT, FullFineTuning, HeadOnly, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.methods.adaptation import load_adapted
from peft_lightning.methods.parameters import trainable_names
from peft_lightning.methods.peft_types import PROMPTS, classifying_types
from tests.methods.test_contract import WIDTH, GetBackbone, logits
from tests.methods.test_peft_types import ARGUMENTS
from tests.samples import mostly_slow

# AdaMSS wants scikit-learn; OSF's adapter is the whole weight; the others are in no recipe and left to PEFT's tests.
TYPES = [kind for kind in classifying_types() if kind not in ("ADAMSS", "FROD", "GLORA", "OSF", "SUPERTUNING")]
UNMERGEABLE = ("LILY", *PROMPTS)
FAST = ("ADALORA", "LN_TUNING", "P_TUNING", "VERA")
STARTS: list[dict[str, Any]] = [
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "pissa_niter_4", "use_rslora": True, "rank_pattern": {"query": 2}},
    {"init_lora_weights": "olora", "use_dora": True},
]


def of_type(kind: str, **more: Any) -> PEFT:
    return PEFT({"peft_type": kind, **ARGUMENTS.get(kind, {}), **more}, adapter_seed=3)


def trained(method: Method, backbone: Backbone, **settings: Any) -> nn.Module:
    """The network with every trained weight moved, the same way wherever it is built again."""
    torch.manual_seed(0)
    model = load_adapted(method, backbone, 3, **settings)
    if isinstance(method, PEFT) and method.peft_type == "ADALORA":
        method.before_training(model, 10)
    noise = torch.Generator().manual_seed(1)
    names = set(trainable_names(model))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


def reloaded(folder: Path, backbone: Backbone, packed: dict[str, Any] | None = None) -> nn.Module:
    """What plain PEFT makes of a folder, under another seed than training's."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    torch.manual_seed(99)
    more = {} if packed is None else {"quantization_config": BitsAndBytesConfig(**packed)}
    base = AutoModelForSequenceClassification.from_pretrained(backbone.name_or_path, num_labels=3, **more)
    for layer in base.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            # Where a CPU has these instructions, layers as narrow as this test's cannot be repacked for them.
            layer.support_avx512bf16_for_cpu = False
    return cast("nn.Module", PeftModel.from_pretrained(base, folder).eval())


def merged(method: Method, backbone: Backbone) -> nn.Module:
    model: nn.Module = method.merged(trained(method, backbone, plain=True)).eval()
    return model


def assert_plain(model: nn.Module, backbone: Backbone) -> None:
    """Nothing is left of PEFT: no wrapper, no copy of the head, no other name than transformers'."""
    from transformers import AutoModelForSequenceClassification

    config: Any = model.config
    assert set(model.state_dict()) == set(AutoModelForSequenceClassification.from_config(config).state_dict())
    assert not any(type(module).__module__.startswith("peft.") for module in model.modules())
    assert packed_as(cast("Any", model)) is None


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


@pytest.mark.parametrize("kind", mostly_slow(TYPES, fast=FAST))
def test_every_type_of_peft_leaves_whole_or_says_that_it_cannot(kind: str, backbone: Backbone, tmp_path: Path) -> None:
    method = of_type(kind)
    model = trained(method, backbone)
    wanted = logits(model)
    method.save_adapter(model, tmp_path, lambda: trained(method, backbone))
    assert logits(reloaded(tmp_path, backbone)) == pytest.approx(wanted, abs=1e-6)
    if kind in UNMERGEABLE:
        with pytest.raises(UserError, match="export it as an adapter"):
            merged(method, backbone)
        return
    alone = merged(method, backbone)
    assert logits(alone) == pytest.approx(wanted, abs=2e-6)
    assert_plain(alone, backbone)


@pytest.mark.parametrize("start", mostly_slow(STARTS, fast=STARTS[1:2]), ids=lambda start: start["init_lora_weights"])
def test_a_start_taken_out_of_the_backbone_becomes_a_lora_beside_it(
    start: dict[str, Any], backbone: Backbone, tmp_path: Path
) -> None:
    method = of_type("LORA", r=4, **start)
    model = trained(method, backbone)
    wanted = logits(model)

    def untrained() -> nn.Module:
        return load_adapted(method, backbone, 3)

    method.save_adapter(model, tmp_path, untrained)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["init_lora_weights"] is True
    assert saved["r"] == 8
    assert logits(model) == pytest.approx(wanted, abs=0)
    # A second decomposition of the backbone differs in the last digits.
    assert logits(reloaded(tmp_path, backbone)) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("method", [LoRA, QLoRA, IA3])
def test_adapters_of_named_methods_reload(method: type[Method], backbone: Backbone, tmp_path: Path) -> None:
    made = method()
    model: Any = trained(made, backbone)
    made.save_adapter(model, tmp_path, lambda: trained(made, backbone))
    packed = packed_as(model.get_base_model())
    assert (packed is not None) == (method is QLoRA)
    assert logits(reloaded(tmp_path, backbone, packed)) == pytest.approx(logits(model), abs=1e-6)


@pytest.mark.parametrize("method", [FullFineTuning, HeadOnly, LoRA, QLoRA, IA3, IA3LoRA])
def test_every_method_merges_into_a_plain_model(method: type[Method], backbone: Backbone) -> None:
    wanted = logits(trained(method(), backbone))
    alone = merged(method(), backbone)
    assert logits(alone) == pytest.approx(wanted, abs=1e-6)
    assert_plain(alone, backbone)


@pytest.mark.parametrize("method", [FullFineTuning, HeadOnly, IA3LoRA])
def test_what_has_no_adapter_says_so_and_names_the_other_form(
    method: type[Method], backbone: Backbone, tmp_path: Path
) -> None:
    made = method()
    with pytest.raises(UserError, match="format='merged'"):
        made.save_adapter(trained(made, backbone), tmp_path, lambda: trained(made, backbone))
    assert list(tmp_path.iterdir()) == []


def test_a_merge_on_a_backbone_in_four_bits_keeps_the_whole_adapter(backbone: Backbone) -> None:
    """Beside weights that stay packed, VeRA would lose 93 % of its effect."""
    packed = replace(backbone, quantisation=Quantisation("nf4"))
    method = of_type("VERA")
    wanted = logits(trained(method, packed))
    assert logits(merged(method, packed)) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("method", [FullFineTuning, LoRA, IA3, IA3LoRA])
def test_a_merge_on_a_backbone_in_bf16_rounds_nothing_away(method: type[Method], tiny_backbone: GetBackbone) -> None:
    narrow = tiny_backbone(width=WIDTH, dtype="bfloat16")
    optimizer = {"optimizer": "adamw_8bit"}
    wide = trained(method(), narrow, plain=True, **optimizer)
    wanted = logits(wide)
    alone = method().merged(wide).eval()
    assert {parameter.dtype for parameter in alone.parameters()} == {torch.float32}
    assert logits(alone) == pytest.approx(wanted, abs=1e-6)
    # What the run itself answered, under autocast, is off by what bf16 rounds.
    assert logits(trained(method(), narrow, **optimizer)) == pytest.approx(wanted, abs=3e-2)
