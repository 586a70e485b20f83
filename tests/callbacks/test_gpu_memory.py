from pathlib import Path

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit

import peft_lightning.callbacks.gpu_memory
from peft_lightning.callbacks.gpu_memory import GIB, GPUMemory
from peft_lightning.runs.record import MemoryFigures
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


class WithAdam(ScriptedModule):
    """The frozen weights are no affair of the gradients and the optimiser."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([self.weight])


def test_on_a_cpu_there_is_resident_memory_and_no_gpu_figure(tmp_path: Path) -> None:
    memory = GPUMemory()
    watched = trainer(tmp_path, memory)
    module = WithAdam()
    watched.fit(module, datamodule=ScriptedData(test=[{"logits": torch.zeros(1, 2)}]))
    watched.test(module, datamodule=ScriptedData(test=[{"logits": torch.zeros(1, 2)}]), verbose=False)
    figures = MemoryFigures(**memory.figures())
    assert figures.train_peak_rss_gib is not None
    assert 0.05 < figures.train_peak_rss_gib < 64
    assert figures.weights_gib == pytest.approx(4 * 8 / GIB)
    assert figures.gradients_gib == pytest.approx(4 / GIB)
    # Two moments and a step count.
    assert figures.optimizer_gib == pytest.approx(3 * 4 / GIB)
    for name in ("train_peak_allocated", "train_peak_reserved", "eval_peak_allocated", "eval_peak_reserved"):
        assert getattr(figures, f"{name}_gib") is None
    assert figures.activations_gib is None


def test_packed_weights_are_measured_with_their_scales(tmp_path: Path) -> None:
    class Packed(WithAdam):
        def __init__(self) -> None:
            super().__init__()
            self.packed = Linear4bit(64, 128, bias=False, quant_type="nf4", compress_statistics=False)
            self.packed.weight = self.packed.weight.to("cpu")

    memory = GPUMemory()
    trainer(tmp_path, memory).fit(Packed(), datamodule=ScriptedData())
    # Half a byte a weight, a 32-bit scale for 64 of them, and the sixteen values.
    packed = 64 * 128 // 2 + 4 * 128 + 4 * 16
    assert memory.figures()["weights_gib"] == pytest.approx((4 * 8 + packed) / GIB)


def test_a_resumed_run_keeps_the_higher_peak(tmp_path: Path) -> None:
    memory = GPUMemory()
    memory.load_state_dict({"peaks": {"train_peak_rss_gib": 100 * GIB}, "parts": {}, "paged_bytes": 0})
    trainer(tmp_path, memory).fit(WithAdam(), datamodule=ScriptedData())
    assert memory.figures()["train_peak_rss_gib"] == 100
    assert memory.state_dict()["peaks"] == {"train_peak_rss_gib": 100 * GIB}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_the_peak_is_the_allocator_s(tmp_path: Path) -> None:
    memory = GPUMemory()
    trainer(tmp_path, memory, accelerator="gpu", devices=1).fit(WithAdam(), datamodule=ScriptedData(val=0))
    figures = memory.figures()
    assert 0 < figures["train_peak_allocated_gib"] <= figures["train_peak_reserved_gib"]
    assert "train_peak_rss_gib" not in figures


def test_of_several_processes_each_keeps_its_own_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [{"train_peak_rss_gib": 2 * GIB}, {"train_peak_rss_gib": 3 * GIB}]
    kept = {"peaks": {"train_peak_rss_gib": 3 * GIB}, "by_process": both, "parts": {}, "paged_bytes": 0}
    monkeypatch.setattr(peft_lightning.callbacks.gpu_memory, "process_number", lambda: 0)
    memory = GPUMemory()
    memory.load_state_dict(kept)
    assert memory.figures()["train_peak_rss_gib"] == 3
    assert [peaks["train_peak_rss_gib"] for peaks in memory.figures()["by_process"]] == [2, 3]
    assert memory.state_dict() == kept
    # What the first says to the others is its own.
    said: list[dict[str, int]] = []

    def gathered(mine: dict[str, int]) -> list[dict[str, int]]:
        said.append(mine)
        return [mine, both[1]]

    monkeypatch.setattr(peft_lightning.callbacks.gpu_memory, "gathered", gathered)
    memory._compare_peaks()
    assert said == [both[0]]
    # A checkpoint between two comparisons has what this process has reached since.
    memory._raise_peak("train_peak_rss_gib", 9 * GIB)
    assert memory.state_dict()["by_process"] == [{"train_peak_rss_gib": 9 * GIB}, both[1]]
    assert memory.state_dict()["peaks"] == {"train_peak_rss_gib": 9 * GIB}
