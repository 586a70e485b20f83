from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.offline_run import only_run

Trained = Callable[..., Path]


@pytest.fixture
def trained(tiny_fit: list[str], trained_once: Callable[..., None]) -> Trained:
    """Returns the directory of a finished run with these further settings, of LoRA if they name no other method."""

    def run(*more: str) -> Path:
        trained_once("--model.learning_rate", "1e-2", "--data.max_length", "16", *more)
        return only_run(Path())

    return run
