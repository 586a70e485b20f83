"""The study's recipe on the HF Trainer: fp32, everything padded to the full length, the default optimiser.

QLoRA goes through `prepare_model_for_kbit_training`, which turns gradient checkpointing on, as in the study's notebook.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import set_seed

from peers.hf_models import build_model
from peers.hf_trainer import train
from side_by_side.peer_job import PeerJob


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Trains.

    Args:
        job: what to train.
        folder: where the Trainer writes.

    Returns:
        The figures.
    """
    set_seed(job.seed)
    return train(job, build_model(job, prepare_kbit=True), None, folder)
