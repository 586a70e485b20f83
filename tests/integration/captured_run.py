"""The program on a machine without a GPU, with what stands for CUDA graphs: processes replay what they recorded."""

import sys
from collections.abc import Sequence

import torch

import peft_lightning.engine.captured_steps
from peft_lightning.__main__ import main
from peft_lightning.engine import strategies
from tests.engine.captured_runs import Recorded


class Capturing(strategies.DDPSteps):
    """The strategy, as it is on GPUs."""

    def __init__(self, devices: Sequence[torch.device], engine: str) -> None:
        super().__init__(devices)
        self.engine.capturing.name = engine  # type: ignore[assignment]


strategies.DDPSteps = Capturing  # type: ignore[misc, assignment]
peft_lightning.engine.captured_steps.GraphRecorder = Recorded  # type: ignore[attr-defined, assignment]
if __name__ == "__main__":
    main(sys.argv[1:])
