"""How a run ends whose checkpoints are written in a thread; it is one on the CPU, where they otherwise are not."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.commands import trainer_parts
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.background_io import BackgroundCheckpointIO
from peft_lightning.runs.directory import RunDirectory
from tests.commands.stopping import AT, WITH
from tests.integration.offline_run import TINY, checkpoint, only_run, record, run

# 4 steps an epoch. SIGTERM ends a run after the step.
STOPPABLE = (
    "--trainer.callbacks+=tests.commands.stopping.StopAt",
    *("--checkpoint.every_n_steps", "2", "--checkpoint.max_time_share", "1", "--trainer.max_epochs", "2"),
)
FULL_DISK_RUN = Path(__file__).with_name("full_disk_run.py")
NOT_WRITTEN = "a checkpoint was not written: "


class Late(BackgroundCheckpointIO):
    """Is half a second behind, and finds something in the way at step 6."""

    def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
        time.sleep(0.5)
        if checkpoint["global_step"] == 6:
            path.with_name(f"{path.name}.partial").mkdir()
        super()._put(checkpoint, path)


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    allowed, handler = torch.backends.cuda.cudnn_sdp_enabled(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(trainer_parts, "AtomicCheckpointIO", Late)
    yield
    # A Trainer that fails while it ends leaves the kernels and the handler of its run behind.
    torch.backends.cuda.enable_cudnn_sdp(allowed)
    signal.signal(signal.SIGTERM, handler)


def stop(at: int, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AT, str(at))
    monkeypatch.setenv(WITH, how)


@pytest.mark.parametrize(
    ("how", "code", "reason", "status"),
    [
        ("Ctrl-C", 130, "interrupted: go on in", "interrupted"),
        pytest.param("SIGTERM", 143, "interrupted: go on in", "interrupted", marks=pytest.mark.slow),
        pytest.param(
            *("no memory", 2, "peft_lightning: error: the GPU ran out of memory at step 6", "out_of_memory"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_could_not_be_written_does_not_hide_why_the_run_ended(
    how: str,
    code: int,
    reason: str,
    status: str,
    tiny_fit: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stop(6, how, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, *STOPPABLE])
    assert ended.value.code == code
    path = only_run(Path())
    printed = capfd.readouterr()
    lines = [*printed.out.splitlines(), *printed.err.splitlines()]
    assert [line.startswith(reason) for line in lines].count(True) == 1
    (said,) = [line for line in lines if "cannot write" in line]
    assert NOT_WRITTEN in said
    assert str(path / "checkpoints/last.ckpt") in said
    assert record(path)["status"] == status


@pytest.mark.parametrize(
    "how",
    ["Ctrl-C", pytest.param("SIGTERM", marks=pytest.mark.slow), pytest.param("no memory", marks=pytest.mark.slow)],
)
def test_the_record_of_a_run_that_broke_off_says_how_large_its_checkpoint_is(
    how: str, tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first validation has just been: its checkpoints are still to be written.
    stop(4, how, monkeypatch)
    with pytest.raises(SystemExit):
        main([*tiny_fit, *STOPPABLE, "--checkpoint.every_n_steps", "0"])
    path = only_run(Path())
    assert record(path)["checkpoint_bytes"] == (path / "checkpoints/best.ckpt").stat().st_size


def test_a_run_lets_go_of_its_directory_when_all_is_written(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    left: list[list[str]] = []

    def release(directory: RunDirectory) -> None:
        left.append(sorted(path.name for path in directory.checkpoints.iterdir()))
        real(directory)

    real = RunDirectory.release
    monkeypatch.setattr(RunDirectory, "release", release)
    stop(6, "an error", monkeypatch)
    with pytest.raises(RuntimeError, match="the teller"):
        main([*tiny_fit, "--trainer.callbacks+=tests.commands.stopping.FailsWhenTold", *STOPPABLE])
    assert left == [["best.ckpt", "last.ckpt", "last.ckpt.partial"]]
    assert capfd.readouterr().err.count(NOT_WRITTEN) == 1


@pytest.mark.slow
def test_a_run_is_tested_while_its_last_checkpoint_is_being_written(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int, bool]] = []

    def started(module: TextClassifier) -> None:
        trainer = module.trainer
        state = sum(len(optimizer.state) for optimizer in trainer.optimizers)
        has_gradients = any(weight.grad is not None for weight in module.parameters())
        checkpoint_io = trainer.strategy.checkpoint_io
        assert isinstance(checkpoint_io, BackgroundCheckpointIO)
        seen.append((checkpoint_io.is_free(1.0), state, has_gradients))

    monkeypatch.setattr(TextClassifier, "on_test_start", started)
    main(tiny_fit)
    # What only training needs has made room.
    assert seen == [(False, 0, False)]
    path = only_run(Path())
    last = checkpoint(path / "checkpoints/last.ckpt")
    assert last["global_step"] == 4
    assert last["optimizer_states"][0]["state"]
    assert record(path)["status"] == "finished"


@pytest.mark.slow
def test_a_last_checkpoint_that_could_not_be_written_ends_a_tested_run_in_one_line(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Blocked(Late):
        def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
            if path.name == "last.ckpt":
                path.with_name(f"{path.name}.partial").mkdir()
            super()._put(checkpoint, path)

    monkeypatch.setattr(trainer_parts, "AtomicCheckpointIO", Blocked)
    with pytest.raises(SystemExit) as ended:
        main(tiny_fit)
    assert ended.value.code == 2
    path = only_run(Path())
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "cannot write" in line]
    assert str(path / "checkpoints/last.ckpt") in said
    assert record(path)["status"] == "failed"
    assert (path / "checkpoints/best.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("no memory", 2)])
def test_on_a_full_disk_a_run_ends_as_it_was_ended(
    how: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDS_WITH", how)
    words = ["fit", "--config", "configs/lora.yaml", *TINY, "--data.n_train", "64"]
    outcome = run(words, tmp_path, start=(sys.executable, str(FULL_DISK_RUN)))
    assert outcome.code == code, outcome.err
    assert ("interrupted: go on in" if code > 128 else "the GPU ran out of memory") in outcome.out + outcome.err
    (said,) = [line for line in outcome.err.splitlines() if "no space left" in line]
    assert NOT_WRITTEN in said
    assert checkpoint(only_run(tmp_path) / "checkpoints/last.ckpt")["global_step"] == 4
