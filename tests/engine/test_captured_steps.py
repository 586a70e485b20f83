from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import peft_lightning.engine.capturable_step
import peft_lightning.engine.captured_steps
import peft_lightning.engine.capturing
from peft_lightning.engine import gradient_buckets
from peft_lightning.engine.capturable_step import CapturableStep
from peft_lightning.engine.captured_steps import CapturedSteps
from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.graph_recorder import CaptureError
from peft_lightning.engine.step_settings import StepSettings
from peft_lightning.module.classifier import TextClassifier
from tests.engine.captured_runs import CUDA, Recorded, curve, gradients_alone, trained, uncaptured
from tests.engine.scarce import ScarceMemory
from tests.integration.offline_run import checkpoint, only_run, same


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(["--model.schedule", "linear"], id="whole step"),
        pytest.param(["--trainer.accumulate_grad_batches", "2"], id="accumulated", marks=pytest.mark.slow),
        pytest.param(["--model.optimizer", "adamw_8bit"], id="8 bits", marks=pytest.mark.slow),
        pytest.param(
            ["--model.optimizer", "adamw_8bit", "--trainer.gradient_clip_val", "0.05"],
            id="8 bits, clipped",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--trainer.gradient_clip_val", "0.05", "--trainer.gradient_clip_algorithm", "value"],
            id="values",
            marks=pytest.mark.slow,
        ),
        pytest.param(["--trainer.precision", "bf16-mixed"], id="bf16", marks=pytest.mark.slow),
        pytest.param(
            ["--config", "configs/lean.yaml", "--model.optimizer", "adamw_8bit"], id="lean", marks=pytest.mark.slow
        ),
    ],
)
def test_captured_steps_are_the_steps(more: list[str], graphs: list[str], words: list[str], tmp_path: Path) -> None:
    device = uncaptured(graphs)
    plain, _ = trained(words, tmp_path / "plain", *device, *more)
    captured, run = trained(words, tmp_path / "captured", *graphs, *more)
    assert run["engine"]["name"] == "graph"
    assert run["notes"] == []
    if "--trainer.accelerator" not in graphs:
        # One recording for each width, and with accumulation for each part; only a step that has to make the
        # optimiser's state runs as it is.
        parts = 2 if "--trainer.accumulate_grad_batches" in more else 1
        assert 0 < Recorded.count <= 8 * parts
        assert Recorded.replays == 16 - parts
    assert captured["global_step"] == plain["global_step"]
    for name, weight in plain["state_dict"].items():
        assert torch.allclose(weight.float(), captured["state_dict"][name].float(), atol=2e-5), name
    for name in ("train/loss", "train/gradient_norm"):
        expected = curve(tmp_path / "plain", name)
        assert len(expected) == plain["global_step"]
        assert curve(tmp_path / "captured", name) == pytest.approx(expected, rel=1e-3), name
    rates = curve(tmp_path / "captured", "train/learning_rate")
    assert rates == curve(tmp_path / "plain", "train/learning_rate")
    assert len(set(rates)) > 3
    # Whoever goes on from the checkpoint need not know of graphs.
    (left,), (right,) = plain["optimizer_states"], captured["optimizer_states"]
    assert left["param_groups"] == right["param_groups"]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(["--trainer.gradient_clip_val", "0.05"], id="clipped"),
        pytest.param(["--trainer.accumulate_grad_batches", "3"], id="accumulated", marks=pytest.mark.slow),
        pytest.param(["--model.optimizer", "adamw_8bit"], id="8 bits", marks=pytest.mark.slow),
    ],
)
def test_captured_steps_of_a_process_that_averages_are_the_steps(
    more: list[str], graphs: list[str], words: list[str], tmp_path: Path
) -> None:
    # 30 examples in batches of 8: the last has six.
    words = [*words, "--data.n_train", "30", *more]
    plain, _ = trained(words, tmp_path / "plain", *uncaptured(graphs))
    ddp = ("--trainer.strategy", "ddp", "--trainer.devices", "1")
    captured, run = trained(words, tmp_path / "captured", *graphs, *ddp)
    assert (run["engine"]["name"], run["notes"]) == ("graph", [])
    for name, weight in plain["state_dict"].items():
        assert torch.allclose(weight, captured["state_dict"][name], atol=2e-5), name
    expected = curve(tmp_path / "plain", "train/gradient_norm")
    assert curve(tmp_path / "captured", "train/gradient_norm") == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_gradients_of_captured_steps_are_averaged_where_they_lie(
    accumulate: str, graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    around = gradient_buckets._around

    def counted(gradients: Sequence[torch.Tensor]) -> torch.Tensor | None:
        flat = around(gradients)
        found.append(flat is not None)
        return flat

    monkeypatch.setattr(gradient_buckets, "_around", counted)
    ddp = ("--trainer.strategy", "ddp", "--trainer.devices", "1", "--trainer.accumulate_grad_batches", accumulate)
    _, run = trained(words, tmp_path, *graphs, *ddp)
    assert run["engine"]["name"] == "graph"
    # The first step runs as it is.
    assert found == [False] + [True] * (len(found) - 1)
    assert len(found) > 4


@pytest.mark.slow
def test_large_gradients_that_are_accumulated_have_no_second_set_and_are_the_same(
    graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--model.optimizer", "adamw_8bit", "--trainer.accumulate_grad_batches", "2"]
    copied, _ = trained(words, tmp_path / "copied", *graphs, *more)
    monkeypatch.setattr(peft_lightning.engine.capturable_step, "_SMALL", 0)
    added, run = trained(words, tmp_path / "added", *graphs, *more)
    assert (run["engine"]["name"], run["notes"]) == ("graph", [])
    for name, weight in copied["state_dict"].items():
        assert torch.equal(weight, added["state_dict"][name]), name


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_all_widths_of_an_epoch_are_captured_when_the_first_is(
    accumulate: int, graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[int] = []
    widths: set[int] = set()

    def count(module: TextClassifier, outputs: Any, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        steps = module.trainer.strategy.engine.capturing.steps  # type: ignore[attr-defined]
        captured.append(len(steps._graphs))
        widths.add(batch["input_ids"].shape[1])

    monkeypatch.setattr(TextClassifier, "on_train_batch_end", count)
    more = ("--data.n_train", "32", "--data.batch_size", "4", "--data.pad_to_multiple_of", "4")
    trained(words, tmp_path, *graphs, *more, "--trainer.accumulate_grad_batches", str(accumulate))
    # The first step makes the optimiser's state.
    assert captured[:accumulate] == [0] * accumulate
    assert len(widths) > 1
    assert set(captured[accumulate:8]) == {len(widths) * accumulate}


@pytest.mark.slow
def test_all_widths_are_warmed_up_before_the_first_is_captured(
    graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []

    def note(what: str) -> None:
        real = getattr(CapturableStep, what)

        def noted(step: CapturableStep, batch: dict[str, torch.Tensor], *more: int) -> None:
            done.append((what, batch["input_ids"].shape[1]))
            real(step, batch, *more)

        monkeypatch.setattr(CapturableStep, what, noted)

    note("warm_up")
    note("gradients")
    more = ("--data.n_train", "32", "--data.batch_size", "4", "--data.pad_to_multiple_of", "4")
    trained(words, tmp_path, *graphs, *more, "--model.optimizer", "adamw_8bit")
    warm = [width for what, width in done if what == "warm_up"]
    widths = sorted(set(warm), reverse=True)
    assert len(widths) > 1
    assert done[: len(widths)] == [("warm_up", width) for width in widths]
    assert done[len(widths)][0] == "gradients"
    assert len(warm) == len(widths)


@pytest.mark.slow
def test_dropout_is_drawn_anew_in_every_replay(graphs: list[str], tiny_fit: list[str], tmp_path: Path) -> None:
    # Without learning, and every epoch with the same batches, only dropout can make the losses differ.
    still = ("--model.learning_rate", "1e-12", "--data.n_train", "8", "--trainer.max_epochs", "12")
    trained(tiny_fit, tmp_path, *graphs, *still)
    losses = curve(tmp_path, "train/loss")
    assert len(losses) == 12
    assert len(set(losses)) == 12


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_same_bits(graphs: list[str], tiny_fit: list[str], tmp_path: Path) -> None:
    words = [*tiny_fit, *graphs, "--data.batch_size", "8", "--model.schedule", "constant"]
    expected, _ = trained(words, tmp_path / "whole")
    trained(words, tmp_path / "half", "--trainer.max_epochs", "2")
    half = only_run(tmp_path / "half") / "checkpoints/last.ckpt"
    resumed, _ = trained(words, tmp_path / "resumed", "--ckpt_path", str(half))
    assert resumed["global_step"] == expected["global_step"] == 16
    for name, weight in expected["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_goes_on_where_it_was(
    graphs: list[str], tiny_fit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny_fit, *graphs, "--data.batch_size", "8"]
    words += ["--checkpoint.every_n_steps", "3", "--checkpoint.max_time_share", "1"]
    expected, _ = trained(words, tmp_path / "whole")

    def killed(module: TextClassifier, batch: Any, batch_idx: int) -> None:
        # The checkpoint of step 6 is half an epoch old.
        if module.global_step == 7:
            raise ZeroDivisionError

    with monkeypatch.context() as scene:
        scene.setattr(TextClassifier, "on_train_batch_start", killed)
        with pytest.raises(ZeroDivisionError):
            trained(words, tmp_path / "killed")
    left = only_run(tmp_path / "killed") / "checkpoints/last.ckpt"
    assert checkpoint(left)["global_step"] == 6
    resumed, run = trained(words, tmp_path / "resumed", "--ckpt_path", str(left))
    assert run["time"]["steps"] == 16
    for name, weight in expected["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name


@CUDA
def test_a_loss_that_asks_the_gpu_falls_back_and_its_run_goes_on(
    tiny_fit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TextClassifier.loss

    def asking(module: TextClassifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        loss = real(module, batch)
        assert loss.item() > 0
        return loss

    monkeypatch.setattr(TextClassifier, "loss", asking)
    _, run = trained(tiny_fit, tmp_path, "--trainer.accelerator", "gpu", "--engine", "graph")
    assert run["status"] == "finished"
    assert run["engine"]["name"] == "eager"
    (note,) = run["notes"]
    assert "cannot be captured in a CUDA graph" in note
    assert "capturing" in note


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_an_update_that_clips_is_the_clipping_and_the_update(
    device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cpu":
        monkeypatch.setattr(peft_lightning.engine.captured_steps, "GraphRecorder", Recorded)
    labels = torch.zeros(8, device=device)
    inputs = [torch.randn(8, 16, device=device, dtype=dtype) * 10**power for power in (0, 1, -4, 0, 2)]
    batches = [{"x": values, "labels": labels} for values in inputs]

    def run(clip_value: float | None, in_update: bool) -> tuple[torch.Tensor, list[float]]:
        torch.manual_seed(0)
        network = torch.nn.Linear(16, 4, device=device, dtype=dtype)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, fused=True)
        network(batches[0]["x"]).square().mean().backward()
        optimizer.step()
        settings = StepSettings(
            clipping=Clipping(clip_value, in_update=in_update),
            accumulate=1,
            context=nullcontext,
            scale=lambda loss: loss,
            clips=True,
            updates=True,
        )
        steps = CapturedSteps(lambda batch: network(batch["x"]).square().mean(), optimizer, settings)
        norms = []
        for batch in batches:
            assert steps.run(batch, 8, True) is not None
            norms.append(float(steps.gradient_norm))
        assert not hasattr(optimizer, "grad_scale")
        return network.weight.detach().clone(), norms

    expected, norms = run(0.5, in_update=False)
    weight, same_norms = run(0.5, in_update=True)
    unclipped, _ = run(None, in_update=True)
    assert min(norms) < 0.5 < max(norms)
    halved = dtype == torch.bfloat16
    assert same_norms == pytest.approx(norms, rel=2e-2 if halved else 1e-4)
    # A step is of 0.01, and a weight of 0.25 is rounded to 0.001 in half precision.
    assert torch.allclose(weight, expected, rtol=0, atol=2e-3 if halved else 1e-6)
    assert not torch.allclose(weight, unclipped, rtol=0, atol=4e-3 if halved else 1e-3)


@CUDA
def test_left_to_itself_a_short_job_is_captured_and_not_compiled(tiny_fit: list[str], tmp_path: Path) -> None:
    _, run = trained(tiny_fit, tmp_path, "--trainer.accelerator", "gpu")
    assert (run["engine"]["name"], run["engine"]["cudnn_attention"], run["notes"]) == ("graph", False, [])


@pytest.mark.slow
def test_micro_batches_are_captured_too(
    graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = uncaptured(graphs)
    plain, _ = trained(words, tmp_path / "plain", *device)
    # What is captured already asks for no more memory: it is a width that comes for the first time that finds none.
    ScarceMemory(monkeypatch, fits=4, from_step=1, in_backward=False)
    captured, run = trained(words, tmp_path / "captured", *graphs)
    assert (run["engine"]["name"], run["engine"]["micro_batch_size"]) == ("graph", 4)
    for name, weight in plain["state_dict"].items():
        assert torch.allclose(weight, captured["state_dict"][name], atol=2e-5), name


@pytest.mark.slow
def test_what_cannot_be_captured_runs_as_it_is_and_says_why(
    graphs: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[CapturedSteps] = []

    class Seen(CapturedSteps):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    def refuse(self: Any, step: Callable[[], None]) -> Callable[[], None]:
        # As far as a capture gets: gradients that were never computed.
        for parameter in made[-1].step.parameters:
            parameter.grad = torch.full_like(parameter, 1e6)
        raise CaptureError("operation not permitted when stream is capturing")

    monkeypatch.setattr(peft_lightning.engine.capturing, "CapturedSteps", Seen)
    monkeypatch.setattr("peft_lightning.engine.captured_steps.GraphRecorder.__call__", refuse)
    device = uncaptured(graphs)
    plain, _ = trained(words, tmp_path / "plain", *device)
    fallen_back, run = trained(words, tmp_path / "captured", *graphs)
    assert run["engine"]["name"] == "eager"
    (note,) = run["notes"]
    assert "not permitted when stream is capturing" in note
    for name, weight in plain["state_dict"].items():
        assert torch.allclose(weight, fallen_back["state_dict"][name], atol=2e-5), name


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("ahead", [False, True], ids=["in its turn", "ahead"])
def test_a_capture_that_fails_leaves_the_gradients_of_the_batches_before(
    shares: bool, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = torch.nn.Linear(16, 4)
    optimizer = torch.optim.AdamW(network.parameters())
    batch = {"x": torch.randn(8, 16), "labels": torch.zeros(8)}
    network(batch["x"]).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

    class SecondFails(Recorded):
        made = 0

        def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
            type(self).made += 1
            if self.made == 1:
                return super().__call__(step)
            # As far as a capture gets: gradients that were never computed.
            for parameter in network.parameters():
                parameter.grad = torch.full_like(parameter, 1e6)
            raise CaptureError("operation not permitted when stream is capturing")

    monkeypatch.setattr(peft_lightning.engine.captured_steps, "GraphRecorder", SecondFails)
    settings = gradients_alone(accumulate=2, shares=shares)
    steps = CapturedSteps(lambda part: network(part["x"]).square().mean(), optimizer, settings)
    if not ahead:
        assert steps.run(batch, 8, True) is not None
    before = [None if value.grad is None else value.grad.clone() for value in network.parameters()]
    assert all(gradient is None for gradient in before) == ahead
    captures = partial(steps.capture, [(batch, 8)]) if ahead else partial(steps.run, batch, 8, False)
    with pytest.raises(CaptureError):
        captures()
    for value, gradient in zip(network.parameters(), before, strict=True):
        assert same(value.grad, gradient)
