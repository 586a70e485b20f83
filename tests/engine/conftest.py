import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

import peft_lightning.backbone
import peft_lightning.engine.captured_steps
import peft_lightning.engine.strategies
from peft_lightning.engine.strategies import DDPSteps, SingleDeviceSteps
from tests.engine.captured_runs import CUDA, Recorded


@pytest.fixture(autouse=True)
def no_group_stays() -> Iterator[None]:
    """Ends the group of a run under DDP in this process, which Lightning leaves to the end of the process."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def words(tiny_fit: list[str], tmp_path: Path) -> list[str]:
    """A `fit` of the embedded backbone without any dropout: 4 batches of 8 an epoch."""
    folder = tmp_path / "still"
    shutil.copytree(Path(peft_lightning.backbone.__file__).parent / "embedded", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return [
        *(*tiny_fit, "--model.model_name_or_path", str(folder), "--model.method.lora_dropout", "0"),
        # With the usual epsilon AdamW makes whole steps out of the rounding errors of gradients near 0.
        *("--model.learning_rate", "1e-2", "--model.adam_epsilon", "1e-2", "--data.batch_size", "8"),
    ]


@pytest.fixture(params=["again", pytest.param("captured", marks=CUDA)])
def graphs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags with which steps are captured: for real on a GPU, by a stand-in on a CPU."""
    if request.param == "captured":
        return ["--trainer.accelerator", "gpu", "--engine", "auto"]

    def strategy(device: torch.device, engine: str) -> SingleDeviceSteps:
        made = SingleDeviceSteps(device)
        made.engine.capturing.name = engine  # type: ignore[assignment]
        return made

    def several(devices: Sequence[torch.device], engine: str) -> DDPSteps:
        made = DDPSteps(devices)
        made.engine.capturing.name = engine  # type: ignore[assignment]
        return made

    monkeypatch.setattr(peft_lightning.engine.strategies, "SingleDeviceSteps", strategy)
    monkeypatch.setattr(peft_lightning.engine.strategies, "DDPSteps", several)
    monkeypatch.setattr(peft_lightning.engine.captured_steps, "GraphRecorder", Recorded)
    Recorded.count = Recorded.replays = 0
    return ["--engine", "auto"]
