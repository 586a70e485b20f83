"""The HF Trainer in the least memory: gradient checkpointing and the paged 8-bit optimiser, as in `lean.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import set_seed

from peers.decoder_recipe import build_decoder
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
    return train(job, build_decoder(job), read_variant(job.variant), folder, checkpointed=True)
