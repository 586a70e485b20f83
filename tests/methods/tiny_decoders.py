"""Decoders, and encoders with a decoder, two layers small, with random weights, saved as a hub checkpoint would be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PretrainedConfig

VOCABULARY = 64
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2}
_GEMMA = {**_GROUPED, "head_dim": 8}
_BART_LIKE = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
_T5_LIKE = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
            "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}  # fmt: skip
_EXPERTS = {**_GROUPED, "num_local_experts": 2, "num_experts_per_tok": 1}

# Those that the docs name; each has a row in the default tests.
NAMED: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 6},
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 8},
    "gemma": {**_GEMMA, "num_key_value_heads": 1},
    "gemma2": {**_GEMMA, "sliding_window": 6},
    "gemma3_text": {**_GEMMA, "sliding_window": 6},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {**_GROUPED, "original_max_position_embeddings": 40},
    "gpt2": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt_neox": {"rotary_pct": 0.5},
    "smollm3": _GROUPED,
    "bart": _BART_LIKE,
    "t5": _T5_LIKE,
}
# The rest of what transformers has a head for; all are tried in the slow tests.
OTHERS: dict[str, dict[str, Any]] = {
    "arcee": _GROUPED,
    "biogpt": {},
    "bloom": {},
    "ctrl": {"dff": 48},
    "diffllama": _GROUPED,
    "exaone4": {**_GROUPED, "sliding_window": 6, "sliding_window_pattern": 2},
    "falcon": {"multi_query": True, "new_decoder_architecture": False},
    "glm": {**_GROUPED, "head_dim": 8},
    "glm4": {**_GROUPED, "head_dim": 8},
    "gpt_bigcode": {},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 6},
    "gptj": {"rotary_dim": 4},
    "helium": {**_GROUPED, "head_dim": 8},
    "mbart": _BART_LIKE,
    "ministral3": {**_GROUPED, "head_dim": 8},
    "mixtral": _EXPERTS,
    "modernbert-decoder": {"pad_token_id": 0, "global_attn_every_n_layers": 2, "local_attention": 6},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 40},
    "mt5": _T5_LIKE,
    "olmo": _GROUPED,
    "olmo2": _GROUPED,
    "olmo3": {**_GROUPED, "sliding_window": 6},
    "openai-gpt": {},
    "persimmon": {},
    "plbart": _BART_LIKE,
    "qwen3_moe": {**_GROUPED, "head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    "seed_oss": {**_GROUPED, "head_dim": 8},
    "stablelm": _GROUPED,
    "starcoder2": _GROUPED,
    "umt5": _T5_LIKE,
}


def tiny_config(model_type: str, **more: Any) -> PretrainedConfig:
    """The configuration of a tiny model of that architecture, without dropout."""
    own = {**NAMED, **OTHERS}[model_type]
    sizes = {} if "d_model" in own else _SIZES
    config: PretrainedConfig = AutoConfig.for_model(model_type, **{**sizes, **own, **more})
    for name in vars(config):
        if "pdrop" in name or "dropout" in name:
            setattr(config, name, 0.0)
    return config


def save_decoder(model_type: str, folder: Path, **more: Any) -> Path:
    """Saves a language model of that architecture: what pretraining leaves behind."""
    config = tiny_config(model_type, **more)
    made = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = made.from_config(config)
        for weight in model.parameters():  # far from zero, so that what a token sees matters
            torch.nn.init.normal_(weight, std=0.2) if weight.dim() > 1 else None
    model.save_pretrained(folder)
    return folder


def texts(ends_in: int = 2, count: int = 4) -> list[list[int]]:
    """Token ids of texts of several lengths, each of which ends in a token of its own choice."""
    generator = torch.Generator().manual_seed(2)
    rows = [torch.randint(5, VOCABULARY, (length,), generator=generator).tolist() for length in (11, 3, 7, 1)[:count]]
    return [[*row, ends_in] for row in rows]


def padded(rows: list[list[int]], pad: int) -> dict[str, torch.Tensor]:
    """A batch of these texts, padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}
