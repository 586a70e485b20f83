"""A callback that a run makes before it trains, and that writes down what the run's process is like, or holds it."""

import ctypes
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback

PR_GET_PDEATHSIG = 2
PATIENCE_S = 600.0


class Probe(Callback):
    """Writes what the process is like into a file, and ends it.

    Args:
        file: The file.
        hold: Whether the process then stands still instead.
    """

    def __init__(self, file: str, hold: bool = False) -> None:
        partial = Path(f"{file}.partial")
        partial.write_text(
            json.dumps({"its own": its_own(), "alike": alike(), "random": drawn(), "filters": filters()})
        )
        partial.replace(file)
        until = time.monotonic() + PATIENCE_S
        while hold and time.monotonic() < until:
            time.sleep(0.05)
        raise SystemExit(7)


def its_own() -> dict[str, object]:
    """What each process has for itself."""
    death = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(death))
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgid(0),
        "dies with its parent": death.value == signal.SIGKILL,
        "sees": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": len(os.listdir("/proc/self/task")),
    }


def alike() -> dict[str, object]:
    """What is the same in every process with the same environment, however it was started."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    main = sys.modules["__main__"]
    streams: list[Any] = [sys.stdout, sys.stderr]
    return {
        "argv": sys.argv[:1] + sys.argv[1:2],
        "main": (main.__name__, main.__spec__ and main.__spec__.name, main.__file__),
        "directory": os.getcwd(),
        "path": sys.path,
        "environment": {k: v for k, v in os.environ.items() if k not in ("PEFT_LIGHTNING_PROGRESS", "_")},
        "signals": (status["SigBlk"], status["SigIgn"], status["SigCgt"]),
        "handlers": [getattr(signal.getsignal(n), "__qualname__", str(signal.getsignal(n))) for n in (2, 15, 1)],
        "main thread": threading.current_thread() is threading.main_thread(),
        "streams": [(s.encoding, s.errors, s.write_through, s.line_buffering) for s in streams],
        "input": os.path.realpath("/proc/self/fd/0"),
        "logging": {name: logging.getLogger(name).getEffectiveLevel() for name in ("", "lightning", "transformers")},
        "handled": len(logging.getLogger().handlers),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "cuda": (torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork()),
        "capability": torch.cuda.get_device_capability.__module__,
        "flags": str(sys.flags),
        "limits": os.nice(0),
        "grad": torch.is_grad_enabled(),
    }


def filters() -> list[str]:
    """The filters of warnings; what a process has imported already has added its own."""
    return [
        f"{action} {message and message.pattern} {category.__name__}"
        for action, message, category, *_ in cast("list[Any]", warnings.filters)
    ]


def drawn() -> list[float]:
    """What the generators draw that nobody has seeded."""
    return [random.random(), float(np.random.random()), float(torch.rand(()))]
