from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

import peft_lightning.engine.attention_kernels
import peft_lightning.engine.step_engine
import peft_lightning.engine.strategies
from peft_lightning.__main__ import main
from peft_lightning.engine.attention import planned_attention, planning_pays
from peft_lightning.engine.job_size import JobSize
from peft_lightning.engine.strategies import SingleDeviceSteps
from peft_lightning.module.classifier import TextClassifier
from tests.callbacks.scripted import ScriptedModule
from tests.integration.offline_run import only_run, record

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Every test leaves the kernels as it found them."""
    before = allowed()
    yield
    after = allowed()
    torch.backends.cuda.enable_cudnn_sdp(before)
    assert after == before


def allowed() -> bool:
    """Whether attention may take cuDNN's kernels."""
    return bool(torch.backends.cuda.cudnn_sdp_enabled())


def test_planning_pays_in_long_jobs_and_large_batches() -> None:
    study = 12 * 768 * 8 * 256
    assert not planning_pays(1_125, study)
    assert planning_pays(20_000, study)
    assert planning_pays(1_125, 16 * study)
    assert not planning_pays(0, 0)


def test_kernels_are_allowed_inside_and_as_they_were_outside() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    with planned_attention(True):
        assert allowed()
        with planned_attention(False):
            assert not allowed()
        assert allowed()
    assert allowed()


def test_kernels_are_as_they_were_after_what_breaks_off() -> None:
    with pytest.raises(ZeroDivisionError), planned_attention(not allowed()):
        raise ZeroDivisionError


def test_what_the_user_forbade_stays_forbidden() -> None:
    before = allowed()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        with planned_attention(True):
            assert not allowed()
        assert not allowed()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


class OnGPU(SingleDeviceSteps):
    """Decides as on a GPU, where there may be none."""

    @property
    def root_device(self) -> torch.device:
        return torch.device("cuda")


@pytest.mark.parametrize(
    ("engine", "precision", "batches", "chosen", "planned"),
    [
        ("auto", "bf16-mixed", 1_125, "graph", False),
        ("auto", "bf16-mixed", 20_000, "graph", True),
        ("auto", "bf16-mixed", 1_000_000, "compiled", True),
        ("eager", "16-mixed", 20_000, "eager", True),
        ("graph", "bf16-mixed", 1_125, "graph", False),
        ("compiled", "bf16-mixed", 10, "compiled", True),
        ("auto", "32-true", 1_000_000, "compiled", False),
    ],
)
def test_plans_are_made_for_long_jobs_and_compiled_ones_in_half_precision(
    engine: Any, precision: Any, batches: int, chosen: str, planned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SingleDeviceStrategy, "setup", lambda strategy, trainer: None)
    monkeypatch.setattr(
        peft_lightning.engine.step_engine, "job_size", lambda trainer: JobSize(batches, 12 * 768 * 8 * 256)
    )
    strategy = OnGPU("cuda", engine)
    strategy.precision_plugin = MixedPrecision(precision, "cpu") if "mixed" in precision else Precision()
    strategy._lightning_module = ScriptedModule()
    strategy._lightning_module.layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    torch.backends.cuda.enable_cudnn_sdp(True)
    for doing, expected in ((TrainerFn.FITTING, planned), (TrainerFn.TESTING, False)):
        trainer.state.fn = doing
        strategy.setup(trainer)
        assert allowed() is expected
    assert (strategy.engine.capturing.name, strategy.engine.kernels.plans) == (chosen, planned)
    strategy.engine.kernels.close()
    assert allowed()


@pytest.mark.parametrize("doing", [TrainerFn.FITTING, TrainerFn.VALIDATING, TrainerFn.TESTING, TrainerFn.PREDICTING])
def test_what_can_leave_padding_out_does_it_throughout_and_needs_no_plans(
    doing: TrainerFn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[torch.device, torch.dtype]] = []

    def can_unpad(network: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
        asked.append((device, dtype))
        return True

    monkeypatch.setattr(SingleDeviceStrategy, "setup", lambda strategy, trainer: None)
    monkeypatch.setattr(SingleDeviceStrategy, "teardown", lambda strategy: None)
    monkeypatch.setattr(
        peft_lightning.engine.step_engine, "job_size", lambda trainer: JobSize(10**6, 12 * 768 * 8 * 256)
    )
    monkeypatch.setattr(peft_lightning.engine.attention_kernels, "can_unpad", can_unpad)
    strategy = OnGPU("cuda", "graph")
    strategy.precision_plugin = MixedPrecision("bf16-mixed", "cpu")
    config = RobertaConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=1, vocab_size=50)
    encoder = RobertaForSequenceClassification._from_config(config, attn_implementation="sdpa")
    strategy._lightning_module = ScriptedModule()
    strategy._lightning_module.network = encoder
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.state.fn = doing
    torch.backends.cuda.enable_cudnn_sdp(True)
    for _ in range(2):  # a validation before the training, say
        strategy.setup(trainer)
        assert encoder.config._attn_implementation == "unpadded"
        assert not allowed()
    assert strategy.engine.kernels.unpads is True
    assert strategy.engine.kernels.plans is (False if doing == TrainerFn.FITTING else None)
    assert asked == [(torch.device("cuda"), torch.bfloat16)] * 2
    strategy.teardown()
    assert encoder.config._attn_implementation == "sdpa"


@CUDA
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_on_a_gpu_runs_in_half_precision_leave_padding_out(precision: str, tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.accelerator", "gpu", "--trainer.precision", precision])
    assert record(only_run(Path()))["engine"]["unpadded_attention"] is (precision == "bf16-mixed")


@pytest.mark.slow
@pytest.mark.parametrize("planned", [True, False])
def test_a_long_job_trains_by_plans_and_evaluates_without_as_any_other(
    planned: bool, tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def strategy(device: torch.device, engine: Any) -> SingleDeviceSteps:
        made = SingleDeviceSteps(device, engine)
        made.engine.kernels.plans = planned
        return made

    seen: dict[str, set[bool]] = {}

    def watch(name: str) -> None:
        step = getattr(TextClassifier, name)

        def watched(module: TextClassifier, *arguments: Any) -> Any:
            seen.setdefault(name, set()).add(allowed())
            return step(module, *arguments)

        monkeypatch.setattr(TextClassifier, name, watched)

    def updated(module: TextClassifier, *arguments: Any) -> None:
        # Between the two passes and after them: a checkpointed layer is computed again in the backward pass.
        seen.setdefault("on_before_optimizer_step", set()).add(allowed())

    monkeypatch.setattr(peft_lightning.engine.strategies, "SingleDeviceSteps", strategy)
    monkeypatch.setattr(TextClassifier, "on_before_optimizer_step", updated)
    for name in ("training_step", "validation_step", "test_step"):
        watch(name)
    torch.backends.cuda.enable_cudnn_sdp(True)
    main([*tiny_fit, "--trainer.max_epochs", "2"])
    assert seen == {
        "training_step": {planned},
        "on_before_optimizer_step": {planned},
        "validation_step": {False},
        "test_step": {False},
    }
    assert record(only_run(Path()))["engine"]["cudnn_attention"] is planned


def test_without_a_gpu_nothing_is_said_of_its_kernels(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    found = record(only_run(Path()))["engine"]
    assert (found["unpadded_attention"], found["cudnn_attention"]) == (None, None)
