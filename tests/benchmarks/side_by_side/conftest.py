from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from side_by_side.results import Results
from side_by_side.wanted import Wanted

ABOUT = {"commands": ["python benchmarks/vs_peers.py"], "machine": {"gpu": None, "versions": {}}, "work": {"lr": 1}}


@pytest.fixture
def wanted() -> Callable[..., Wanted]:
    """Makes a small measurement: two peers, one method, one size, two repeats."""

    def make(**changes: Any) -> Wanted:
        asked: dict[str, Any] = {
            "peers": ["hf-study", "ours"],
            "methods": ["lora"],
            "batch_sizes": [8],
            "max_lengths": [64],
            "steps": 10,
            "warmup_steps": 4,
            "repeats": 2,
            "ours": {"fp32": ()},
            "trial_variants": 2,
            "trial_compiled": 0,
            "trial_steps": 6,
            "whole_job": False,
            "n_train": 24,
            "n_test": 8,
            "epochs": 2,
            "learning_rate": 1e-4,
            "reviews": "reviews",
            "backbone": "backbone",
            "most_reviews": 1000,
        }
        return Wanted(**asked | changes)

    return make


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Results]:
    """Opens the same folder's results, as every call does."""
    return lambda **changes: Results(tmp_path / "out", ABOUT | changes)


@pytest.fixture
def finished() -> Callable[..., dict[str, Any]]:
    """Makes the record of a process that ended well."""

    def make(ms: float, process_s: float = 5.0, **figures: Any) -> dict[str, Any]:
        figures = {"ms_per_step": ms, "tokens_per_s": 1e6 / ms, "final_loss": 0.7, **figures}
        return {"status": "finished", "error": None, "process_s": process_s, "figures": figures}

    return make
