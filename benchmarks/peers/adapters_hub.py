"""AdapterHub's `adapters` (Poth et al. 2023, arXiv:2311.11077): LoRA, IA³, and LoRA on a 4-bit backbone.

It needs a transformers of its own, so its process gets a package folder of its own (`--adapters_site`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from peers.hf_models import load_classifier
from peers.hf_trainer import train
from peers.hf_variants import read_variant
from side_by_side.peer_job import PeerJob

NAME = "sentiment"


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Trains.

    Args:
        job: what to train, and which variant of the HF Trainer, whose kind the library's own is.
        folder: where the Trainer writes.

    Returns:
        The figures.
    """
    import adapters

    set_seed(job.seed)
    variant = read_variant(job.variant)
    model = load_classifier(job, torch.bfloat16 if variant.bf16 else torch.float32)
    adapters.init(model)
    # `train_adapter` freezes the encoder and leaves the classification head to be trained.
    model.add_adapter(NAME, config=_config(job))
    model.train_adapter(NAME)
    model.adapter_to(NAME, device="cuda" if torch.cuda.is_available() else "cpu")
    return train(job, model, variant, folder, adapters.AdapterTrainer)


def _config(job: PeerJob) -> Any:
    import adapters

    if job.method == "lora":
        return adapters.LoRAConfig(r=16, alpha=32, dropout=0.1, attn_matrices=["q", "v"])
    if job.method == "qlora":
        return adapters.LoRAConfig(r=8, alpha=32, dropout=0.05, attn_matrices=["q", "k", "v"])
    return adapters.IA3Config()
