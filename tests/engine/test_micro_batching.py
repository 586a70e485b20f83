from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.module.classifier import TextClassifier
from tests.engine.scarce import ScarceMemory
from tests.integration.offline_run import checkpoint, history, only_run, record


def trained(words: list[str], folder: Path, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains, and returns the last checkpoint and the record."""
    main([*words, "--trainer.default_root_dir", str(folder), *more])
    run = only_run(folder)
    return checkpoint(run / "checkpoints/last.ckpt"), record(run)


@pytest.mark.parametrize(
    ("accumulate", "in_backward"),
    [
        pytest.param(1, False, id="forward", marks=pytest.mark.slow),
        pytest.param(1, True, id="backward"),
        pytest.param(2, False, id="accumulated, forward", marks=pytest.mark.slow),
        pytest.param(2, True, id="accumulated, backward", marks=pytest.mark.slow),
    ],
)
def test_a_batch_that_does_not_fit_goes_through_in_micro_batches_and_the_run_is_the_same(
    in_backward: bool, accumulate: int, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", str(accumulate))
    whole, before = trained(words, tmp_path / "whole", *more)
    assert (before["engine"]["name"], before["engine"]["micro_batch_size"], before["notes"]) == ("eager", 8, [])
    memory = ScarceMemory(monkeypatch, fits=2, from_step=1, in_backward=in_backward)
    scarce, after = trained(words, tmp_path / "scarce", *more)
    assert memory.sizes[:accumulate] == [8] * accumulate
    assert set(memory.sizes[accumulate:]) == {8, 4, 2}
    assert memory.sizes[-1] == 2
    assert whole["global_step"] == scarce["global_step"] == 8 // accumulate
    for name, weight in whole["state_dict"].items():
        assert torch.allclose(weight, scarce["state_dict"][name], atol=1e-5), name
    assert after["time"]["steps"] == before["time"]["steps"]
    assert after["engine"]["micro_batch_size"] == 2
    assert [note.split(":")[0] for note in after["notes"]] == ["not enough memory at step 2"] * 2
    curves = [
        [float(value) for _, name, value in history(only_run(tmp_path / folder)) if name == "train/loss"]
        for folder in ("whole", "scarce")
    ]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


@pytest.mark.slow
def test_the_gradients_of_the_batches_before_are_neither_lost_nor_counted_twice(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--trainer.accumulate_grad_batches", "4", "--trainer.gradient_clip_val", "1e9")
    whole, _ = trained(words, tmp_path / "whole", *more)
    # The third of four batches finds that there is no room any more.
    memory = ScarceMemory(monkeypatch, fits=8, from_step=0, in_backward=True)

    class ThenFull(list[int]):
        def append(self, size: int) -> None:
            super().append(size)
            memory.fits = 4 if len(self) >= 3 else 8

    memory.sizes = ThenFull()
    scarce, _ = trained(words, tmp_path / "scarce", *more)
    assert list(memory.sizes) == [8, 8, 8, *[4] * 8]
    for name, weight in whole["state_dict"].items():
        assert torch.allclose(weight, scarce["state_dict"][name], atol=1e-5), name


@pytest.mark.slow
def test_a_resumed_run_knows_the_micro_batch_size(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as scarce:
        ScarceMemory(scarce, fits=3, from_step=0, in_backward=False)
        trained(words, tmp_path, "--trainer.max_epochs", "1")
    started_from = only_run(tmp_path) / "checkpoints/last.ckpt"
    memory = ScarceMemory(monkeypatch, fits=8, from_step=0, in_backward=False)
    more = tmp_path / "more"
    _, after = trained(words, more, "--trainer.max_epochs", "2", "--ckpt_path", str(started_from))
    assert set(memory.sizes) == {2}
    assert after["engine"]["micro_batch_size"] == 2
    origin, *scarce_notes = after["notes"]
    assert str(started_from) in origin
    assert [note.split(":")[0] for note in scarce_notes] == ["not enough memory at step 1"] * 2


def test_one_example_that_does_not_fit_ends_the_run_with_a_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ScarceMemory(monkeypatch, fits=0, from_step=1, in_backward=False)
    with pytest.raises(SystemExit) as ended:
        trained(words, tmp_path)
    assert ended.value.code == 2
    assert (
        "ran out of memory at step 1, with one example at a time: add --config configs/lean.yaml"
        in capsys.readouterr().err
    )
    assert record(only_run(tmp_path))["status"] == "out_of_memory"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["validation_step", "test_step"])
def test_an_evaluation_that_does_not_fit_says_what_to_lower(
    step: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(TextClassifier, step, full)
    with pytest.raises(SystemExit):
        trained(words, tmp_path)
    assert "while it evaluated: lower --data.eval_batch_size" in capsys.readouterr().err
    assert record(only_run(tmp_path))["status"] == "out_of_memory"


def test_what_failed_is_let_go_before_its_batch_is_tried_again(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ScarceMemory(monkeypatch, fits=4, from_step=1, in_backward=True)
    trained(words, tmp_path)
    assert len(memory.held) == 2 * 3
    assert not any(memory.held)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens on a machine without a GPU")
def test_graphs_and_limits_need_a_gpu(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, run = trained(words, tmp_path / "graph", "--engine", "graph")
    assert run["engine"]["name"] == "eager"
    assert run["notes"] == ["engine graph needs a CUDA GPU: steps run eager"]
    with pytest.raises(SystemExit):
        trained(words, tmp_path / "limited", "--memory_limit_gib", "4")
    assert "--memory_limit_gib limits a GPU's memory" in capsys.readouterr().err
    assert not (tmp_path / "limited").exists()
