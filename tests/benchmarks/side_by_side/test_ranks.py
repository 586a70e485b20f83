"""Several processes of a job: their figures put together, and a line where the machine has too few devices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from peft_lightning.errors import UserError
from side_by_side.ranks import figures_of, launcher, require_devices, result_of


def write(result: Path, rank: int, **figures: float | None) -> None:
    result_of(result, rank).write_text(json.dumps(figures))


def test_the_first_ranks_figures_have_the_largest_peaks_and_every_ranks_own(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    write(result, 0, ms_per_step=5.0, final_loss=0.7, peak_allocated_gib=1.5, peak_rss_gib=3.0)
    write(result, 1, ms_per_step=6.0, final_loss=0.9, peak_allocated_gib=2.5, peak_rss_gib=2.0)
    figures = figures_of(result, 2)
    assert (figures["ms_per_step"], figures["final_loss"]) == (5.0, 0.7)
    assert (figures["peak_allocated_gib"], figures["peak_rss_gib"]) == (2.5, 3.0)
    assert [rank["peak_allocated_gib"] for rank in figures["ranks"]] == [1.5, 2.5]


def test_a_peak_that_a_rank_has_not_measured_is_no_largest(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    write(result, 0, ms_per_step=5.0, peak_allocated_gib=1.5)
    assert figures_of(result, 2)["peak_allocated_gib"] is None, "the second rank wrote nothing"
    assert figures_of(result, 1) == {"ms_per_step": 5.0, "peak_allocated_gib": 1.5}


def test_a_job_whose_first_rank_wrote_nothing_has_no_figures(tmp_path: Path) -> None:
    write(tmp_path / "result.json", 1, ms_per_step=5.0)
    assert figures_of(tmp_path / "result.json", 2) == {}


def test_a_single_process_needs_no_launcher() -> None:
    assert launcher(1) == ()
    assert launcher(4)[-1] == "--nproc_per_node=4"


@pytest.mark.parametrize(("gpus", "line"), [(1, "--devices 2: this machine has 1 GPU"), (2, None)])
def test_fewer_gpus_than_asked_for_are_refused_in_a_line(
    gpus: int, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if line is None:
        require_devices([1, 2])
    else:
        with pytest.raises(UserError) as raised:
            require_devices([1, 2])
        assert str(raised.value) == line
