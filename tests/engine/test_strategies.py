from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from peft_lightning.__main__ import main
from peft_lightning.engine.engine import Engine
from peft_lightning.engine.lightning_engine import LightningEngine
from peft_lightning.engine.step_engine import StepEngine
from peft_lightning.engine.strategies import EngineHost, engine_of
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.integration.offline_run import checkpoint, only_run, record, same


class Counting(SingleDeviceStrategy):
    """Another strategy of Lightning's, whose own ways are counted."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.counts: dict[str, int] = {}

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def setup(self, *args: Any) -> None:
        self._count("setup")
        super().setup(*args)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        self._count("training_step")
        return super().training_step(*args, **kwargs)

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        self._count("backward")
        return super().backward(*args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> Any:
        self._count("optimizer_step")
        return super().optimizer_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        self._count("validation_step")
        return super().validation_step(*args, **kwargs)

    def teardown(self) -> None:
        self._count("teardown")
        super().teardown()


class Hosting(EngineHost, Counting):
    """The same, with an engine."""


def test_any_strategy_hosts_an_engine_and_keeps_its_own_ways(tmp_path: Path) -> None:
    weights, counts = [], []
    for strategy in (Counting(), Hosting()):
        module = ScriptedModule(gradients=[1.0, -3.0, 2.0, 0.5] * 16)
        trainer(tmp_path, strategy=strategy, accumulate_grad_batches=2).fit(module, datamodule=ScriptedData(train=4))
        weights.append(module.weight.detach())
        counts.append(strategy.counts)
    assert torch.equal(*weights)
    assert counts[0] == counts[1]
    assert counts[1] == {
        "setup": 1, "training_step": 4, "backward": 4, "optimizer_step": 2, "validation_step": 1, "teardown": 1
    }  # fmt: skip


def test_every_strategy_has_an_engine(tmp_path: Path) -> None:
    hosted: Engine = engine_of(trainer(tmp_path, strategy=Hosting()))
    assert isinstance(hosted, StepEngine)
    assert engine_of(trainer(tmp_path, strategy=Hosting())) is not hosted
    bare: Engine = engine_of(trainer(tmp_path, strategy=Counting()))
    assert isinstance(bare, LightningEngine)
    assert (bare.notes, bare.micro_batch_size, bare.is_evaluating) == ([], None, False)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["single_device", "ddp_find_unused_parameters_true"])
def test_a_run_under_another_strategy_records_its_engine(strategy: str, tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.strategy", strategy, "--trainer.devices", "1"])
    run = record(only_run(Path()))
    assert run["engine"] == {
        "name": "eager", "micro_batch_size": 8, "unpadded_attention": None, "cudnn_attention": None,
        "processes": 1, "batch_size": 8, "global_batch_size": 8, "by_process": None,
    }  # fmt: skip
    assert run["notes"] == []
    # Nothing of an engine that did not run is carried on.
    assert "StepEngine" not in checkpoint(only_run(Path()) / "checkpoints/last.ckpt")["callbacks"]


def test_one_process_of_several_takes_the_steps_of_a_run_on_one_device(words: list[str], tmp_path: Path) -> None:
    """Gradients that are averaged over one process are those of the run without it, bit for bit."""
    states = []
    for strategy in ("auto", "ddp"):
        placed = ["--trainer.strategy", strategy, "--trainer.default_root_dir", str(tmp_path / strategy)]
        main([*words, *placed, "--trainer.devices", "1"])
        states.append(checkpoint(only_run(tmp_path / strategy) / "checkpoints/last.ckpt"))
        assert "StepEngine" in states[-1]["callbacks"]
    for part in ("state_dict", "optimizer_states"):
        assert same(*(state[part] for state in states)), part
