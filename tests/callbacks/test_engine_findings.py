from pathlib import Path

import pytest
import torch

from peft_lightning.callbacks.engine_findings import EngineFindings
from peft_lightning.engine.strategies import SingleDeviceSteps, engine_of
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.integration.offline_run import same


def checkpoint_of(folder: Path, found: dict[str, object]) -> Path:
    """A checkpoint of one epoch that says that an engine had found this."""
    watched = trainer(folder, EngineFindings(), strategy=SingleDeviceSteps("cpu"))
    watched.fit(ScriptedModule(), datamodule=ScriptedData())
    watched.save_checkpoint(folder / "last.ckpt")
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert content["callbacks"]["StepEngine"] == {"micro_batch_size": None, "notes": [], "engine": None}
    content["callbacks"]["StepEngine"] = found
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.mark.parametrize("name", ["micro_batch_size", "rows"], ids=["today", "older checkpoint"])
def test_a_resumed_run_goes_on_with_what_was_found(name: str, tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path, {name: 2, "notes": ["not enough memory"], "engine": "eager"})
    findings = EngineFindings()
    resumed = trainer(tmp_path, findings, strategy=SingleDeviceSteps("cpu", "graph"), max_epochs=1)
    resumed.fit(ScriptedModule(), datamodule=ScriptedData(), ckpt_path=path, weights_only=True)
    engine = engine_of(resumed)
    assert engine.micro_batch_size == 2
    assert engine.notes[0] == "not enough memory"
    assert findings.figures()["micro_batch_size"] == 2
    assert findings.state_dict() == {"micro_batch_size": 2, "notes": engine.notes, "engine": "eager"}


def test_what_was_found_outlives_a_run_under_another_strategy(tmp_path: Path) -> None:
    found = {"micro_batch_size": 2, "notes": ["not enough memory"], "engine": None}
    path = checkpoint_of(tmp_path, found)
    findings = EngineFindings()
    resumed = trainer(tmp_path, findings, max_epochs=1)
    resumed.fit(ScriptedModule(), datamodule=ScriptedData(), ckpt_path=path, weights_only=True)
    assert same(findings.state_dict(), found)
    # It does not hold there, and of a batch whose size nobody says nothing is recorded.
    assert engine_of(resumed).micro_batch_size is None
    assert findings.figures()["micro_batch_size"] is None


def test_before_a_run_nothing_is_measured() -> None:
    assert EngineFindings().figures() == {}
