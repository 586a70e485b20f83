"""Runs whose steps are captured, by a GPU or by what stands for one, and what they leave."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.step_settings import StepSettings
from tests.integration.offline_run import checkpoint, history, only_run, record

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class Recorded:
    """Stands for CUDA graphs on a machine without a GPU: what was recorded is done again, from the same tensors."""

    count = 0
    replays = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        type(self).count += 1

        def replay() -> None:
            Recorded.replays += 1
            step()

        return replay


def gradients_alone(accumulate: int, shares: bool) -> StepSettings:
    """The settings of a step that computes gradients, and neither clips nor updates."""
    return StepSettings(
        clipping=Clipping(None),
        accumulate=accumulate,
        context=nullcontext,
        scale=lambda loss: loss,
        clips=False,
        updates=False,
        shares=shares,
    )


def uncaptured(graphs: list[str]) -> list[str]:
    """The flags of a run on the same device whose steps are not captured."""
    return ["eager" if word == "auto" else word for word in graphs]


def trained(words: list[str], folder: Path, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains, and returns the last checkpoint and the record."""
    main([*words, "--trainer.default_root_dir", str(folder), "--trainer.max_epochs", "4", *more])
    run = only_run(folder)
    return checkpoint(run / "checkpoints/last.ckpt"), record(run)


def curve(folder: Path, name: str) -> list[float]:
    """The points of a curve."""
    return [float(value) for _, what, value in history(only_run(folder)) if what == name]
