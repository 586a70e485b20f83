"""The study's published parameter counts, at the study's size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods import IA3, FullFineTuning, HeadOnly, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import count_parameters

HEAD = 592_130
TOTAL = 124_647_170


@pytest.fixture(scope="module")
def roberta_base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    from safetensors.torch import save_file
    from transformers import RobertaConfig, RobertaForMaskedLM

    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in RobertaForMaskedLM(config).state_dict().items()}
    folder: Path = tmp_path_factory.mktemp("roberta-base")
    config.save_pretrained(folder)
    weights = {
        name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items() if name.startswith("roberta.")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return Backbone(str(folder))


@pytest.mark.parametrize(
    ("method", "trainable", "adapter"),
    [
        (FullFineTuning(), 124_647_170, 0),
        (LoRA(r=16, lora_alpha=32, lora_dropout=0.1, target_modules=["query", "value"]), 1_181_954, 589_824),
        (QLoRA(r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["query", "key", "value"]), 1_034_498, 442_368),
        (IA3(), 656_642, 64_512),
        (IA3LoRA(r=16), 1_246_466, 589_824 + 64_512),
        (HeadOnly(), HEAD, 0),
    ],
    ids=["full", "lora", "qlora", "ia3", "ia3_lora", "head"],
)
def test_published_counts(method: Method, trainable: int, adapter: int, roberta_base: Backbone) -> None:
    counts = count_parameters(method.adapt(method.load_backbone(roberta_base, num_labels=2)))
    assert (counts.trainable, counts.adapter, counts.head, counts.total) == (trainable, adapter, HEAD, TOTAL)
    assert not method.notes
