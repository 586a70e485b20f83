"""Which networks can skip padding, and where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from peft_lightning.engine.unpaddable_networks import can_unpad, knows_its_padding
from tests.engine.test_unpadded_attention import encoder


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("modernbert", {}),  # some of its layers see their neighbourhood only
        ("esm", {}),
        ("roberta", {"attn_implementation": "eager"}),
        ("roberta", {"num_attention_heads": 8}),  # heads of 4
        ("roberta", {"hidden_size": 288, "num_attention_heads": 2}),  # of 144
    ],
)
def test_what_it_does_not_know_is_left_alone(model_type: str, settings: dict[str, Any]) -> None:
    attention = settings.pop("attn_implementation", "sdpa")
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 50, "pad_token_id": 1}
    config = AutoConfig.for_model(model_type, **(sizes | settings))
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    assert not knows_its_padding(model)
    assert not knows_its_padding(nn.Linear(1, 1))


def test_it_takes_a_gpu_and_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model, gpu = encoder(), torch.device("cuda")
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert can_unpad(model, gpu, torch.bfloat16)
    assert can_unpad(model, gpu, torch.float16)
    assert not can_unpad(model, gpu, torch.float32)
    assert not can_unpad(model, torch.device("cpu"), torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not can_unpad(model, gpu, torch.bfloat16)
