"""The clock that every peer is measured with: two readings, and nothing in between."""

from __future__ import annotations

import os
import time
from typing import Any

import psutil
import torch

from side_by_side.driver_memory import gpu_peaks, peak_rss_gib, start_new_peaks

# The environment's word for when the process was asked for, in seconds since 1970: one of several ranks starts later.
STARTED = "SIDE_BY_SIDE_STARTED"


class StepClock:
    """Times the steps after a warm-up, with the device synchronised at both ends and at no step in between.

    Args:
        warmup_steps: the first reading is made after this many optimiser steps.
        steps: the second reading is made after this many.
        tokens_per_step: tokens of a batch, padding left out.
    """

    def __init__(self, warmup_steps: int, steps: int, tokens_per_step: float) -> None:
        self._warmup_steps = warmup_steps
        self._steps = steps
        self._tokens_per_step = tokens_per_step
        self._seen = 0
        self._began: float | None = None
        self._warm: float | None = None
        self._warm_cpu_s = 0.0
        self.figures: dict[str, Any] = {}

    def loaded(self) -> None:
        """Says, once, that the model is loaded: what loading takes at its peak is no part of training's peak."""
        if "load_peak_allocated_gib" not in self.figures:
            self.figures["load_peak_allocated_gib"] = gpu_peaks()["peak_allocated_gib"]
            start_new_peaks()

    def begin(self) -> None:
        """Says, before every step or before the first, that training begins."""
        if self._began is not None:
            return
        self.loaded()
        self._began = time.perf_counter()
        started = os.environ.get(STARTED)
        self.figures["startup_s"] = time.time() - (float(started) if started else psutil.Process().create_time())

    def step(self, done: int) -> None:
        """Says that an optimiser step is done.

        Args:
            done: optimiser steps so far.
        """
        if done == self._seen:  # a batch that only accumulated
            return
        self._seen = done
        if done == self._warmup_steps:
            self._warm = synchronised()
            self._warm_cpu_s = time.process_time()
        elif done == self._steps:
            self._finish(synchronised())

    def _finish(self, now: float) -> None:
        if self._began is None or self._warm is None:
            raise RuntimeError("the clock was not told that training began")
        step_s = (now - self._warm) / (self._steps - self._warmup_steps)
        self.figures |= {
            "steps": self._seen,
            "ms_per_step": 1000 * step_s,
            # Processor time of all threads: what the host spends, and on a shared machine the steadier figure.
            "cpu_ms_per_step": 1000 * (time.process_time() - self._warm_cpu_s) / (self._steps - self._warmup_steps),
            "tokens_per_s": self._tokens_per_step / step_s,
            "train_s": now - self._began,
            # What the first steps took beyond their share: compilation, capture, kernels chosen.
            "compile_s": max(0.0, self._warm - self._began - self._warmup_steps * step_s),
            "peak_rss_gib": peak_rss_gib(),
            **gpu_peaks(),
        }


def synchronised() -> float:
    """Reads the clock when the device has done what it was asked to, in seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
