"""The clock: what it times and what it leaves out."""

from __future__ import annotations

import time

import pytest

from side_by_side import clock as clocks
from side_by_side.clock import StepClock
from tests.scripted_time import ScriptedTime


def test_the_warm_up_is_left_out_and_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    time = ScriptedTime()
    monkeypatch.setattr(clocks, "time", time)
    clock = StepClock(warmup_steps=2, steps=4, tokens_per_step=100)
    clock.begin()
    time.sleep(0.3)
    clock.step(1)
    clock.step(2)
    time.sleep(0.1)
    clock.step(3)
    clock.step(3)  # a batch that only accumulates
    clock.step(4)
    assert clock.figures["ms_per_step"] == pytest.approx(50)
    assert clock.figures["tokens_per_s"] == pytest.approx(100 / clock.figures["ms_per_step"] * 1000)
    assert clock.figures["compile_s"] == pytest.approx(0.2)
    assert clock.figures["steps"] == 4
    assert clock.figures["peak_rss_gib"] > 0


def test_a_run_that_stops_early_has_no_figure() -> None:
    clock = StepClock(warmup_steps=1, steps=4, tokens_per_step=100)
    clock.begin()
    clock.step(1)
    clock.step(2)
    assert "ms_per_step" not in clock.figures


def test_the_start_counts_from_when_the_process_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clocks.STARTED, str(time.time() - 100))
    clock = StepClock(warmup_steps=1, steps=2, tokens_per_step=1)
    clock.begin()
    assert clock.figures["startup_s"] == pytest.approx(100, abs=5)


def test_the_peak_of_loading_is_no_part_of_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = {"peak_allocated_gib": 9.0, "peak_reserved_gib": 9.0}
    monkeypatch.setattr(clocks, "gpu_peaks", lambda: dict(peak))
    monkeypatch.setattr(clocks, "start_new_peaks", lambda: peak.update(peak_allocated_gib=2.0))
    clock = StepClock(warmup_steps=1, steps=2, tokens_per_step=1)
    clock.loaded()
    clock.begin()
    clock.step(1)
    clock.step(2)
    assert clock.figures["load_peak_allocated_gib"] == 9.0
    assert clock.figures["peak_allocated_gib"] == 2.0
