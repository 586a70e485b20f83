"""How far a run is: a small file for whoever started it, written only if they ask for it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

# Names the file; whoever starts a run sets it.
VARIABLE = "PEFT_LIGHTNING_PROGRESS"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        stage: ``train``, ``validate`` or ``test``.
        step: Optimiser steps made.
        steps: Optimiser steps to make; None if that is open.
        train_s: Seconds of training, evaluation left out.
    """

    stage: str
    step: int
    steps: int | None
    train_s: float

    def write(self, path: Path) -> None:
        """Replaces the file; nothing waits for the disk, because nothing is lost with it.

        Args:
            path: The file.
        """
        temporary = path.with_name(f"{path.name}.partial")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(path)


def read_progress(path: Path) -> Progress | None:
    """Reads how far a run is; None as long as it has not said.

    Args:
        path: The file.
    """
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def forget_progress(path: Path) -> None:
    """Removes the file of a run that has ended.

    Args:
        path: The file.
    """
    path.unlink(missing_ok=True)
