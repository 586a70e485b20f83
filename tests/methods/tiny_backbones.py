"""Encoders of every architecture, two layers small, with random weights, saved as a hub checkpoint would be."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

VOCABULARY = 64
_USUAL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_BERT_LIKE = {**_USUAL, "num_hidden_layers": 2, "max_position_embeddings": 40}
# Settings that transformers reads and does not declare.
_BUCKETS, _NOT_COMPILED = {"position_buckets": 8}, {"reference_compile": False}

CONFIGS: dict[str, PretrainedConfig] = {
    "roberta": RobertaConfig(**_BERT_LIKE, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**_BERT_LIKE, type_vocab_size=1),
    "bert": BertConfig(**_BERT_LIKE),
    "electra": ElectraConfig(**_BERT_LIKE, embedding_size=16),
    "albert": AlbertConfig(**_BERT_LIKE, embedding_size=16),
    "deberta-v2": DebertaV2Config(
        **(_BERT_LIKE | _BUCKETS), relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0
    ),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=40
    ),
    "modernbert": ModernBertConfig(
        **(_USUAL | _NOT_COMPILED), num_hidden_layers=2, max_position_embeddings=40, pad_token_id=0
    ),
}


def save_backbone(model_type: str, folder: Path, width: int | None = None) -> Path:
    """Save a masked language model of that architecture, of another width if asked: what pretraining leaves behind."""
    config = deepcopy(CONFIGS[model_type])
    if width is not None:
        config.hidden_size = width
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForMaskedLM.from_config(config)
    model.save_pretrained(folder)
    return folder


def batch(rows: int = 4, length: int = 12) -> dict[str, torch.Tensor]:
    """A batch of random tokens, the last row padded by half."""
    tokens = torch.randint(5, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(tokens)
    mask[-1, length // 2 :] = 0
    return {"input_ids": tokens, "attention_mask": mask}
