"""Runs of the real program in real child processes, on the embedded backbone and corpus."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

KILLER = Path(__file__).with_name("killed_run.py")
SOURCES = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "peft_lightning")

TINY = (
    *("--config", "configs/offline.yaml"),
    *("--data.n_train", "48", "--data.n_val", "16", "--data.n_test", "24", "--data.max_length", "48"),
    *("--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "2"),
    *("--checkpoint.every_n_steps", "2", "--checkpoint.max_time_share", "1"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
)


@dataclass
class Outcome:
    """How a child process ended."""

    code: int
    out: str
    err: str


def run(
    words: list[str],
    cwd: Path,
    die_at: str | None = None,
    start: Sequence[str] = PROGRAM,
    timeout_s: float = 1000,
    in_background: bool = False,
) -> Outcome:
    """Runs the program in a child process.

    With `die_at` it sends itself SIGKILL there; with `in_background` it writes its checkpoints in a thread.
    """
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache")}
    if die_at is not None:
        environment["DIE_AT"] = die_at
    if in_background:
        environment["IN_BACKGROUND"] = "1"
    if die_at is not None or in_background:
        start = (sys.executable, str(KILLER))
    command = [*start, *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s)
    return Outcome(done.returncode, done.stdout, done.stderr)


def fit(
    recipe: str,
    cwd: Path,
    *extra: str,
    die_at: str | None = None,
    resume: bool = False,
    in_background: bool = False,
) -> Outcome:
    """Runs a tiny offline fit of a recipe."""
    resuming = ("--ckpt_path", "last") if resume else ()
    words = ["fit", "--config", f"configs/{recipe}.yaml", *TINY, *extra, *resuming]
    return run(words, cwd, die_at, in_background=in_background)


def only_run(cwd: Path) -> Path:
    """The single run directory below a folder."""
    (found,) = cwd.glob("lightning_logs/*/version_*")
    return found


def checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, read as the program reads it."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def record(run_path: Path) -> dict[str, Any]:
    """A run's record."""
    content: dict[str, Any] = json.loads((run_path / "results.json").read_text())
    return content


def history(run_path: Path) -> list[tuple[str, str, str]]:
    """A run's history, without what a clock or a memory gauge said."""
    with (run_path / "history.csv").open() as file:
        rows = [(row["step"], row["name"], row["value"]) for row in csv.DictReader(file)]
    return [row for row in rows if not row[1].startswith(("time/", "memory/"))]


def curves(run_path: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: the scalars by step, without times and memory."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_path), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(("time/", "memory/"))]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def same(left: Any, right: Any) -> bool:
    """Whether two nests of plain values and tensors are equal bit for bit."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)
