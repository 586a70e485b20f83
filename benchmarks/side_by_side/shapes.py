"""Shapes of decoders that a measurement knows by name: Qwen2.5's, with the tokenizer of the backbone in the package.

A shape is a folder with a `config.json` and a tokenizer. No weights and no hub are needed: speed and memory do not
depend on what the weights are, and hardly on which words a token stands for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft_lightning.backbone.locations import EMBEDDED_FOLDER
from side_by_side.peer_job import Recipes

# Sizes of the `config.json` of Qwen/Qwen2.5-0.5B, -1.5B and -7B.
_SIZES = {
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, 151936, True),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936, True),
    "qwen2.5-7b": (3584, 18944, 28, 28, 4, 152064, False),
}
SHAPES = tuple(_SIZES)
_LONGEST = 32768


def write_shape(name: str, folder: Path) -> Path:
    """Writes the folder of a shape.

    Args:
        name: one of `SHAPES`.
        folder: where it goes.

    Returns:
        The folder.
    """
    from transformers import PreTrainedTokenizerFast, Qwen2Config

    hidden, feedforward, layers, heads, groups, vocabulary, tied = _SIZES[name]
    tokens: dict[str, Any] = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    tokens["post_processor"] = None  # which puts an encoder's tokens around a text
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokens), encoding="utf-8")
    # Padding has a token of its own, so that every peer scores the one that ends a text.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="</s>", pad_token="<pad>", model_max_length=_LONGEST
    )
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=feedforward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        max_position_embeddings=_LONGEST,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Qwen2ForCausalLM"],
    )
    config.save_pretrained(folder)
    return folder


def recipes_for(folder: Path) -> Recipes:
    """Says which recipes train a backbone: those of the study an encoder, those of `configs/decoder/` a decoder.

    Args:
        folder: a folder with `config.json`.
    """
    from transformers import AutoConfig

    from peft_lightning.backbone.last_token import scores_last_token

    return "decoder" if scores_last_token(AutoConfig.from_pretrained(folder)) else "study"
