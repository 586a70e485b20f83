"""Runs ``replay.py`` in a fresh process and reads what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from peft_lightning.data.sources.text_pairs import Pair
from peft_lightning.export.loading_code import LoadingCode
from peft_lightning.task import Task

PROGRAM = Path(__file__).with_name("replay.py")
# Of a cut that the tokenizer alone does not make, so many longer texts are answered in its own way too.
_PLAIN = 200


@dataclass(frozen=True)
class Replay:
    """What a fresh process is to answer with an export.

    Args:
        folder: The export's folder.
        code: How a user loads it.
        texts: The texts, or pairs of texts.
        window: None where the tokenizer alone cuts longer texts as the run did; otherwise the numbers of tokens that
            the run kept from the beginning and from the end, special ones included.
        longer: The places of texts that are longer.
        task: What the model was trained for.
        stride: The number of tokens that two windows of a longer text share; None where longer texts are cut.
    """

    folder: Path
    code: LoadingCode
    texts: Sequence[str | Pair]
    window: tuple[int, int] | None
    longer: Sequence[int]
    task: Task
    stride: int | None = None


@dataclass(frozen=True)
class Replayed:
    """What a fresh process answered with an export.

    Args:
        report: Labels, device, times and versions; ``error`` and ``traceback`` where it failed.
        answers: The task's answers to all texts, shape (n, …); None where it failed.
        plain_places: The places of the longer texts that were answered as the tokenizer alone cuts them.
        plain: The answers to these.
    """

    report: dict[str, Any]
    answers: npt.NDArray[np.floating] | None
    plain_places: list[int]
    plain: npt.NDArray[np.floating] | None


def replay(wanted: Sequence[Replay], scratch: Path) -> list[Replayed]:
    """Replays texts through exports, all in one fresh process.

    Args:
        wanted: The exports and their texts.
        scratch: A folder for files in between.
    """
    jobs = []
    for number, asked in enumerate(wanted):
        texts = scratch / f"{number}_texts.json"
        texts.write_text(json.dumps(list(asked.texts)), encoding="utf-8")
        jobs.append(
            {
                "folder": str(asked.folder),
                "load": asked.code.at(str(asked.folder)),
                "texts": str(texts),
                "window": asked.window,
                "stride": asked.stride,
                "plain": list(asked.longer[:_PLAIN]),
                "logits": str(scratch / f"{number}.npy"),
                "plain_logits": str(scratch / f"{number}_plain.npy"),
                "report": str(scratch / f"{number}.json"),
            }
        )
    listing = scratch / "jobs.json"
    listing.write_text(json.dumps(jobs), encoding="utf-8")
    # -P: the program's own folder is no place to import from.
    ended = subprocess.run([sys.executable, "-P", str(PROGRAM), str(listing)], capture_output=True, text=True)
    return [_read(job, asked.task, ended.stderr) for job, asked in zip(jobs, wanted, strict=True)]


def _read(job: dict[str, Any], task: Task, errors: str) -> Replayed:
    try:
        report: dict[str, Any] = json.loads(Path(job["report"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = (errors.strip().splitlines() or ["the process was killed"])[-1]
        return Replayed({"error": last, "traceback": errors}, None, [], None)
    if "error" in report:
        return Replayed(report, None, [], None)
    plain = _answers(job["plain_logits"], task) if job["plain"] else None
    return Replayed(report, _answers(job["logits"], task), job["plain"], plain)


def _answers(file: str, task: Task) -> npt.NDArray[np.floating]:
    answers: npt.NDArray[np.floating] = task.answer(torch.from_numpy(np.load(file))).numpy()
    return answers
