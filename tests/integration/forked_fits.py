"""Fits in processes that are forked from one with all imports done: they take seconds, and can be killed at any time.

A run that is killed is killed for good: nothing runs in it after SIGKILL, no handler and no `finally`.
"""

import contextlib
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

# What a `fit` imports sooner or later; torch starts no threads before its first computation.
IMPORTS = (
    "peft_lightning.commands.fit",
    "transformers.models.roberta.modeling_roberta",
    "transformers.models.auto.modeling_auto",
    "transformers.optimization",
    "peft",
    "pyarrow.parquet",
    "torch.utils.tensorboard",
)


@dataclass
class Fit:
    """A `fit` under way."""

    process: BaseProcess
    log: Path
    began: float
    began_at: float
    took_s: float = 0.0
    began_after_s: float = 0.0

    def await_training(self, folder: Path) -> None:
        """Waits until its training begins, or it ends."""
        while self.process.is_alive():
            path = record_of(folder)
            # The record is written when the fit begins, of a resumed run once more.
            if path is not None and path.stat().st_mtime > self.began_at and b"total" in path.read_bytes():
                break
            time.sleep(0.005)
        self.began_after_s = time.monotonic() - self.began

    def wait(self, seconds: float) -> int:
        """Waits until it ends, for so long at most, and kills it then; returns the exit code."""
        self.process.join(max(0.0, self.began + seconds - time.monotonic()))
        if self.process.exitcode is None:
            self.process.kill()
        self.process.join()
        self.took_s = time.monotonic() - self.began
        assert self.process.exitcode is not None
        return self.process.exitcode


class ForkedFits:
    """Starts fits, each in a process of its own."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(IMPORTS))

    def start(self, words: list[str], folder: Path) -> Fit:
        """Starts a `fit` with a folder as its working directory, where it leaves `log.txt`."""
        log = folder / "log.txt"
        process = self._context.Process(target=_fit, args=(words, str(folder), str(log)))
        began, began_at = time.monotonic(), time.time()
        process.start()
        return Fit(process, log, began, began_at)


def record_of(folder: Path) -> Path | None:
    """The record of the one run below a folder, if there is one."""
    found = list(folder.glob("lightning_logs/*/version_*/results.json"))
    assert len(found) <= 1
    return found[0] if found else None


def _fit(words: list[str], folder: str, log: str) -> None:
    os.chdir(folder)
    with open(log, "a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        print(f"$ {' '.join(words)}", flush=True)
        from peft_lightning.__main__ import main

        sys.argv = ["peft_lightning", *words]
        main(words)
