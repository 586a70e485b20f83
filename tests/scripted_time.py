"""A clock for tests, so that what is timed takes the same on every machine."""

import time
from typing import Any


class ScriptedTime:
    """Stands in for the module `time`: its clock goes on only where somebody sleeps, and then exactly so long."""

    def __init__(self) -> None:
        self._now = 1000.0

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def perf_counter(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
