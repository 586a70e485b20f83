import os
import platform
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from peft_lightning.runs.environment import describe_environment


def test_says_what_the_run_ran_on(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", precision="bf16-mixed", deterministic=True, logger=False)
    try:
        environment = describe_environment(trainer)
    finally:
        torch.use_deterministic_algorithms(False)
    assert environment.python == platform.python_version()
    assert environment.torch == torch.__version__
    assert environment.precision == "bf16-mixed"
    assert environment.deterministic is True
    assert all((environment.lightning, environment.transformers, environment.peft, environment.bitsandbytes))
    assert environment.device.endswith(f"{torch.get_num_threads()} threads")
    assert str(os.getpid()) not in environment.device
    assert describe_environment(Trainer(accelerator="cpu", logger=False)).deterministic is False
