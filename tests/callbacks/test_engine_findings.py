from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader

from peft_lightning.callbacks.engine_findings import EngineFindings
from peft_lightning.callbacks.run_notes import RunNotes
from peft_lightning.engine.strategies import DDPSteps, SingleDeviceSteps, engine_of
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.integration.offline_run import same
from tests.processes import in_processes


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


class WithRoom(ScriptedModule):
    """Every batch has a loss."""

    notes: tuple[str, ...] = ()

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return self.weight.sum()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch)


class WithoutRoom(WithRoom):
    """The second process has no room for batches of more than two examples."""

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        if self.trainer.global_rank == 1 and len(batch["labels"]) > 2:
            raise torch.OutOfMemoryError
        return super().loss(batch)


class FourRows(ScriptedData):
    """Batches of four examples."""

    @staticmethod
    def _loader(count: int) -> DataLoader[Any]:
        return DataLoader([{"labels": torch.tensor(n % 2)} for n in range(4 * count)], batch_size=4)  # type: ignore[arg-type]


Saved = tuple[int | None, list[str], dict[str, Any], list[int | None] | None]


def run_of_several(folder: Path, module: LightningModule, ckpt_path: Path | None = None) -> Saved:
    """Trains, and returns this process's micro-batch size, the run's notes, a checkpoint's findings and all sizes."""
    count = dist.get_world_size()
    notes, findings, strategy = RunNotes(), EngineFindings(), DDPSteps([torch.device("cpu")] * count)
    running = trainer(
        folder,
        findings,
        strategy=strategy,
        devices=count,
        use_distributed_sampler=False,
        max_epochs=2 if ckpt_path else 1,
    )
    running.fit(module, datamodule=FourRows(), ckpt_path=ckpt_path, weights_only=True)
    notes.see_engines(running)
    running.save_checkpoint(folder / "last.ckpt")
    each = findings.figures()["by_process"]
    sizes = each and [steps.micro_batch_size for steps in each]
    return strategy.engine.micro_batch_size, notes.of_all(running), findings.state_dict(), sizes


def test_what_one_of_two_processes_found_is_noted_and_it_alone_goes_on_with_it(tmp_path: Path) -> None:
    first, second = in_processes(2, run_of_several, tmp_path, WithoutRoom())
    assert (first[0], second[0]) == (None, 2)
    noted = "rank 1: not enough memory at step 1: batches go through in micro-batches of 2 from here on"
    assert noted in first[1]
    assert first[3] == [None, 2]
    # With room for all, so that only the checkpoint tells.
    first, second = in_processes(2, run_of_several, tmp_path, WithRoom(), tmp_path / "last.ckpt")
    assert (first[0], second[0]) == (None, 2)
    assert noted in first[1]
    assert [found["micro_batch_size"] for found in first[2]["processes"]] == [None, 2]
    # One process has no share of its own in what two found: it takes what the most careful one did.
    (alone,) = in_processes(1, run_of_several, tmp_path, WithRoom(), tmp_path / "last.ckpt")
    assert alone[0] == 2
    assert alone[3] is None
    assert noted in alone[1]
