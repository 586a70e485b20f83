"""How a run's process was started and what it shares, which decides what its clock and its memory gauges mean."""

import os
from typing import Literal

Start = Literal["cold", "warm"]

# The environment variable that counts the runs at the same time on the run's device; whoever starts them sets it.
SHARED = "PEFT_LIGHTNING_SHARED"

_start: Start = "cold"


def started_warm() -> None:
    """Notes that this process was forked with all imports done. Not in the environment: its own children are others."""
    global _start
    _start = "warm"


def process_start() -> Start:
    """Returns ``warm`` for a process that was forked with all imports done, ``cold`` for one that imports them."""
    return _start


def runs_on_device() -> int:
    """Returns the number of runs at the same time on this process's device: 1 if it has the device to itself."""
    count = os.environ.get(SHARED, "")
    return int(count) if count.isdecimal() and int(count) > 1 else 1
