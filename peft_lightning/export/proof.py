"""Proves exports: replays the runs' answers through them in a fresh process, and judges what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.export.flips import Comparison, compare, tolerance_of
from peft_lightning.export.model_files import temperature_of
from peft_lightning.export.replaying import Replay, Replayed, replay
from peft_lightning.export.saved_answers import SavedAnswers
from peft_lightning.export.written import Written
from peft_lightning.task import Task
from peft_lightning.task.calibration import Calibration


@dataclass(frozen=True)
class Proof:
    """What the replay of an export has shown.

    Args:
        comparison: Its answers beside the run's; None where it could not be loaded.
        replayed: What the fresh process says.
        max_flips: The most flips that were accepted.
        failure: Why the export is not proved; None if it is.
    """

    comparison: Comparison | None
    replayed: Replayed
    max_flips: int
    failure: str | None


def prove(exports: list[tuple[Written, SavedAnswers]], scratch: Path, max_flips: int | None = None) -> list[Proof]:
    """Replays the runs' answers through their exports, all in one fresh process.

    Args:
        exports: The exports, each with its run's answers.
        scratch: A folder for files in between.
        max_flips: The most flips to accept; None for the form's own bound.
    """
    replayed = replay([_asked(written, saved) for written, saved in exports], scratch)
    return [
        _judge(written, saved, answered, max_flips)
        for (written, saved), answered in zip(exports, replayed, strict=True)
    ]


def _asked(written: Written, saved: SavedAnswers) -> Replay:
    longer: list[int] = []
    if written.window is not None or written.stride is not None:
        tokenizer = load_tokenizer(str(written.folder))
        rows = tokenizer(list(saved.texts), truncation=False, verbose=False)["input_ids"]
        longer = [place for place, row in enumerate(rows) if len(row) > written.texts.max_length]
    task = _as_saved(written.task)
    return Replay(written.folder, written.code, saved.texts, written.window, longer, task, written.stride)


def _as_saved(task: Task) -> Task:
    """Returns the task whose answers to an export's logits are those that the run saved: the model's alone.

    The head was divided by the temperature, so that dividing by its inverse gives the model's own logits back.
    """
    temperature = temperature_of(task)
    return task.calibrated(None if temperature == 1.0 else Calibration(1 / temperature))


def _judge(written: Written, saved: SavedAnswers, replayed: Replayed, max_flips: int | None) -> Proof:
    share, count = written.request.lossy_share, len(saved.texts)
    bound = max_flips if max_flips is not None else math.ceil(share * count)
    if replayed.answers is None:
        return Proof(None, replayed, bound, f"loading it or answering failed ({replayed.report['error'][:300]})")
    if replayed.answers.shape != saved.answers.answers.shape:
        return Proof(None, replayed, bound, "it gives answers of another shape than the run's")
    comparison = compare(saved.answers, replayed.answers, tolerance_of(written.texts.precision, written.bits))
    failure = comparison.failure(bound, lossless=share == 0) or _other_labels(written.task, replayed.report)
    return Proof(comparison, replayed, bound, failure)


def _other_labels(task: Task, report: dict[str, Any]) -> str | None:
    expected = dict(enumerate(task.output_names))
    found = {int(number): name for number, name in report["id2label"].items()}
    if found != expected:
        return f"it calls its labels {', '.join(found.values())} and the run {', '.join(expected.values())}"
    return None
