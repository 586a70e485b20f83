"""The HF Trainer at its best: a variant that a trial chose, and no gradient checkpointing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from peers.hf_models import build_model
from peers.hf_trainer import train
from peers.hf_variants import read_variant
from side_by_side.peer_job import PeerJob


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Trains.

    Args:
        job: what to train, and which variant.
        folder: where the Trainer writes.

    Returns:
        The figures.
    """
    set_seed(job.seed)
    variant = read_variant(job.variant)
    compute_dtype = torch.bfloat16 if variant.bf16 else torch.float32
    return train(job, build_model(job, compute_dtype), variant, folder)
