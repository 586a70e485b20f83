"""A run goes by the variant that it trains; runs from before still fit."""

from __future__ import annotations

from typing import Any

import pytest

from peft_lightning.methods import PEFT, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.module.checkpoint_keys import in_present_words


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (LoRA(), "lora"),
        (LoRA(use_dora=True), "dora"),
        (LoRA(use_rslora=True), "rslora"),
        (LoRA(use_dora=True, use_rslora=True), "dora"),
        (LoRA(loraplus_lr_ratio=8.0), "lora_plus"),
        (QLoRA(), "qlora"),
        (QLoRA(use_dora=True), "qdora"),
        (IA3LoRA(), "ia3_lora"),
        (PEFT({"peft_type": "LORA"}), "lora"),
        (PEFT({"peft_type": "LORA", "use_dora": True}), "dora"),
        *(
            (PEFT({"peft_type": "LORA", "init_lora_weights": start}), name)
            for start, name in (
                ("pissa", "pissa"),
                ("pissa_niter_4", "pissa"),
                ("olora", "olora"),
                ("eva", "eva"),
                ("corda", "corda"),
                ("lora_ga", "lora_ga"),
                ("gaussian", "lora"),
            )
        ),
        (PEFT({"peft_type": "VERA"}), "vera"),
    ],
)
def test_a_method_goes_by_its_variant(method: Method, name: str) -> None:
    assert method.name == name
    before = "ia3_lora" if isinstance(method, IA3LoRA) else "qlora" if isinstance(method, QLoRA) else "lora"
    assert method.former_names == (frozenset() if name in (before, "vera") else {before})


def test_a_checkpoint_from_before_is_read_in_the_present_words() -> None:
    method = LoRA(use_dora=True, r=4)
    settings = {name: value for name, value in method.settings.items() if name != "loraplus_lr_ratio"}
    saved: dict[str, Any] = {"method": "lora", "method_settings": settings, "schema": 1}
    assert in_present_words(saved, method) == {"method": "dora", "method_settings": method.settings, "schema": 1}
    assert saved["method"] == "lora"
    other = {"method": "ia3", "method_settings": {}}
    assert in_present_words(other, method) == other
    assert QLoRA().defaults["r"] == 8
    assert "bias" not in QLoRA().defaults
