from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from peft_lightning.backbone.half_width import HalfWidthLayerNorm
from peft_lightning.backbone.loading import Backbone, head_modules
from tests.methods.tiny_backbones import CONFIGS, batch, save_backbone


@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_encoder_is_in_bf16_and_the_head_and_what_is_new_in_32_bits(model_type: str, tmp_path: Path) -> None:
    model = Backbone(str(save_backbone(model_type, tmp_path)), dtype="bfloat16").load(3)
    head = {id(p) for name in head_modules(model) for p in model.get_submodule(name).parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if id(parameter) in head else torch.bfloat16), name
    # Rotary frequencies are no weights: rounded, they would turn distant words to other places.
    assert not [name for name, buffer in model.named_buffers() if buffer.dtype == torch.bfloat16]


@pytest.mark.parametrize("model_type", CONFIGS)
def test_every_architecture_computes_nearly_the_same(model_type: str, tmp_path: Path) -> None:
    folder = str(save_backbone(model_type, tmp_path))
    logits = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = Backbone(folder, dtype=dtype).load(3).eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits.append(model(**batch()).logits.float())
    in_full, in_half = logits
    assert torch.allclose(in_full, in_half, atol=0.05)
    assert not torch.equal(in_full, in_half)


def test_what_norms_hand_on_is_half_as_wide_also_where_autocast_would_widen_it() -> None:
    norm = nn.LayerNorm(8).to(torch.bfloat16)
    norm.__class__ = HalfWidthLayerNorm
    given = torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(given).dtype == torch.bfloat16
    assert torch.allclose(norm(given).float(), nn.functional.layer_norm(given, (8,)), atol=0.02)
