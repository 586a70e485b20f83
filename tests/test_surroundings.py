"""The guard of conftest.py notices what would make a later test end differently."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.surroundings import changed, own_environment, restore, seed, surroundings


def test_a_switch_that_stays_turned_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings()
    assert changed(before, surroundings()) == []
    handler, dtype = signal.getsignal(signal.SIGTERM), torch.get_default_dtype()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        monkeypatch.chdir(tmp_path)
        left = changed(before, surroundings())
    finally:
        signal.signal(signal.SIGTERM, handler)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(False)
    assert [line.partition(":")[0] for line in left] == [
        "the working directory",
        "the handler of SIGTERM",
        "torch's default dtype",
        "torch's deterministic algorithms",
    ]


def test_what_a_run_wrote_into_the_environment_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("REMOVED", "before")
    before = own_environment()
    os.environ |= {"KEPT": "after", "ADDED": "after"}
    del os.environ["REMOVED"]
    restore(before)
    assert own_environment() == before


def test_every_test_draws_the_same_numbers() -> None:
    def drawn() -> tuple[float, float, float]:
        seed()
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert drawn() == drawn()
