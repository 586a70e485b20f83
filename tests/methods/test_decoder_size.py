"""Parameter counts of the decoders' recipes, at the shapes of the models that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import Qwen2Config, Qwen2ForSequenceClassification

from peft_lightning import methods
from peft_lightning.backbone.last_token import score_last_token
from peft_lightning.methods import Method
from peft_lightning.methods.parameters import ParameterCounts, count_parameters

RECIPES = Path(__file__).resolve().parents[2] / "configs/decoder"
# What config.json of each model says.
SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-0.5B": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "vocab_size": 151936,
    },
    "Qwen/Qwen2.5-7B": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_position_embeddings": 131072,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
        "vocab_size": 152064,
    },
}
SMALL, LARGE = 494_034_560, 7_070_626_304
# Adapter, head and all weights of the model.
COUNTS = {
    "full": (0, 1_792, SMALL),
    "lora": (4_399_104, 1_792, SMALL),
    "dora": (4_703_232, 1_792, SMALL),
    "qlora": (4_399_104, 1_792, SMALL),
    "7b-qlora": (161_480_704, 7_168, LARGE),
    "7b-qlora-lean": (5_046_272, 7_168, LARGE),
}


def counted(name: str) -> ParameterCounts:
    """What the recipe trains of a model without weights; four bits hold as many of them as 32."""
    stated = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["model"]
    method: Method = getattr(methods, stated["method"]["class_path"].rpartition(".")[2])(
        **stated["method"].get("init_args", {})
    )
    shape = SHAPES[stated["model_name_or_path"]] | {"num_labels": 2}
    with torch.device("meta"):
        model = Qwen2ForSequenceClassification(Qwen2Config(**shape))
        score_last_token(model, stated["model_name_or_path"])
        counts = count_parameters(method.adapt(model))
    assert not method.notes
    return counts


@pytest.mark.parametrize("name", COUNTS)
def test_a_decoder_s_recipe_trains_as_many_weights_as_its_comment_and_the_docs_say(name: str) -> None:
    counts = counted(name)
    assert (counts.adapter, counts.head, counts.total) == COUNTS[name]
    text = (RECIPES / f"{name}.yaml").read_text()
    comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    if name == "full":
        assert counts.trainable == SMALL
        assert f"It trains all {SMALL:,} weights: {SMALL - 1_792:,} of the backbone and 1,792 of the head." in comment
    else:
        assert f"It trains {counts.adapter:,} weights, " in comment
        assert f"with the head {counts.trainable:,}." in comment
    docs = (RECIPES.parents[1] / "docs/decoders.md").read_text().splitlines()
    (row,) = [row for row in docs if row.startswith(f"| `configs/decoder/{name}.yaml` |")]
    assert f"| {counts.trainable:,} ({counts.trainable_percent:.2f} %) |" in row.replace("(100 %)", "(100.00 %)")
    rate = yaml.safe_load(text)["model"]["learning_rate"]
    assert float(row.split(" | ")[-1].removesuffix(" |")) == rate


def test_every_recipe_of_a_decoder_is_counted_here() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(COUNTS)
