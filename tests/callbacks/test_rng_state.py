import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.callbacks.rng_state import RNGState


def draws() -> list[float]:
    """The next numbers of every generator; an odd number of normal ones, of which each draws two and keeps one."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.standard_normal()),
        float(torch.rand(())),
        float(torch.randn(())),
    ]


@pytest.fixture
def streams() -> Any:
    """Leaves the generators of the tests that follow as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


@pytest.mark.usefixtures("streams")
def test_every_stream_goes_on_after_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(1), np.random.seed(2), random.seed(3)
    draws()
    torch.save(RNGState().state_dict(), tmp_path / "state.pt")
    expected = [draws(), draws()]
    torch.manual_seed(4), np.random.seed(5), random.seed(6)
    draws()

    resumed = RNGState()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    trainer: Any = None
    resumed.on_fit_start(trainer, trainer)
    assert [draws(), draws()] == expected
    # What draws between the fit's start and the training's start is undone.
    resumed.on_train_start(trainer, trainer)
    assert [draws(), draws()] == expected
    # And only once: a second training goes on.
    resumed.on_train_start(trainer, trainer)
    assert draws() != expected[0]


@pytest.mark.usefixtures("streams")
def test_a_new_run_keeps_the_streams_it_has() -> None:
    torch.manual_seed(1), np.random.seed(2), random.seed(3)
    expected = draws()
    torch.manual_seed(1), np.random.seed(2), random.seed(3)
    fresh, trainer = RNGState(), None
    fresh.on_fit_start(trainer, trainer)  # type: ignore[arg-type]
    fresh.on_train_start(trainer, trainer)  # type: ignore[arg-type]
    fresh.state_dict()
    assert draws() == expected


@pytest.mark.usefixtures("streams")
def test_a_process_that_has_another_gpu_than_before_draws_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    # The fifth of eight processes: the first GPU of the second machine, then the fifth of one.
    own = torch.zeros(1, dtype=torch.uint8)
    saved = RNGState().state_dict() | {"cuda": [own, own + 1], "cuda_device": 0}
    drawn_from: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda states: None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", drawn_from.append)  # of the current device
    resumed, trainer = RNGState(), None
    resumed.load_state_dict(saved)
    resumed.on_fit_start(trainer, trainer)  # type: ignore[arg-type]
    assert drawn_from == [own]
