"""The progress of a run in a small file, written only if the process that started the run asks for it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from peft_lightning.runs.checked_json import build, read_object

# The environment variable that names the file; the process that starts a run sets it.
VARIABLE = "PEFT_LIGHTNING_PROGRESS"


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Args:
        stage: ``train``, ``validate`` or ``test``.
        step: Number of optimiser steps made.
        steps: Number of optimiser steps to make; None if that is open.
        train_s: Seconds of training, without evaluation.
    """

    stage: str
    step: int
    steps: int | None
    train_s: float

    def write(self, path: Path) -> None:
        """Replaces the file, without waiting for the disk: a lost file does no harm."""
        temporary = path.with_name(f"{path.name}.partial")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(path)


def read_progress(path: Path) -> Progress | None:
    """Reads the progress of a run; None as long as nothing is written that can be read."""
    try:
        return build(Progress, read_object(path))
    except (OSError, ValueError):
        return None


def forget_progress(path: Path) -> None:
    """Removes the file of a run that has ended."""
    path.unlink(missing_ok=True)
