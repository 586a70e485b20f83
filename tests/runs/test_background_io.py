"""Checkpoints written in a thread; `Held` stands still in the middle of it until it is let go."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.errors import UserError
from peft_lightning.runs import background_io, checkpoint_io
from peft_lightning.runs.background_io import BackgroundCheckpointIO
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.files import CannotWrite
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer

PATIENCE_S = 10.0


class Held(BackgroundCheckpointIO):
    """Writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_write = threading.Event(), threading.Event()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        # In any other thread nobody would be left to say that it may.
        assert threading.current_thread().name.startswith("checkpoints"), "the run itself was to write"
        super()._write(checkpoint, path)

    def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
        self.began.set()
        assert self.may_write.wait(PATIENCE_S)
        super()._put(checkpoint, path)


class Slow(BackgroundCheckpointIO):
    """Takes a moment, in which the run saves more."""

    def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
        time.sleep(0.1)
        super()._put(checkpoint, path)


@pytest.fixture
def held() -> Iterator[Held]:
    io = Held()
    yield io
    io.may_write.set()
    io.teardown()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path, "full")
    directory.create()
    return directory


def content(value: float = 1.0) -> dict[str, Any]:
    return {"peft_lightning": {"steps": [1]}, "state_dict": {"w": torch.full((4,), value)}}


def test_what_is_written_is_what_there_was_when_it_was_saved(held: Held, tmp_path: Path) -> None:
    saved = content()
    held.save_checkpoint(saved, tmp_path / "last.ckpt")
    assert not (tmp_path / "last.ckpt").exists()
    saved["state_dict"]["w"].zero_()
    saved["state_dict"]["more"] = torch.ones(1)
    saved["peft_lightning"]["steps"].append(2)
    held.may_write.set()
    read = held.load_checkpoint(tmp_path / "last.ckpt")
    assert read["peft_lightning"] == {"steps": [1]}
    assert read["state_dict"].keys() == {"w"}
    assert torch.equal(read["state_dict"]["w"], torch.ones(4))


def test_two_may_wait_and_the_third_waits_with_the_run(held: Held, tmp_path: Path) -> None:
    held.save_checkpoint(content(1), tmp_path / "best.ckpt")
    held.save_checkpoint(content(2), tmp_path / "last.ckpt")
    third = threading.Thread(target=held.save_checkpoint, args=(content(3), tmp_path / "last.ckpt"))
    third.start()
    third.join(0.2)
    assert third.is_alive()
    held.may_write.set()
    third.join(PATIENCE_S)
    held.teardown()
    assert read_checkpoint(tmp_path / "best.ckpt")["state_dict"]["w"][0] == 1
    assert read_checkpoint(tmp_path / "last.ckpt")["state_dict"]["w"][0] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("then", ["save", "load", "remove", "teardown"])
def test_what_went_wrong_is_said_once_at_the_next_occasion(then: str, tmp_path: Path) -> None:
    io = BackgroundCheckpointIO()
    (tmp_path / "file").touch()
    io.save_checkpoint(content(), tmp_path / "file" / "last.ckpt")
    assert io._thread is not None
    io._thread.submit(lambda: None).result()  # it has been tried
    occasions: dict[str, Callable[[], Any]] = {
        "save": lambda: io.save_checkpoint(content(), tmp_path / "last.ckpt"),
        "load": lambda: io.load_checkpoint(tmp_path / "file" / "last.ckpt"),
        "remove": lambda: io.remove_checkpoint(tmp_path / "file" / "last.ckpt"),
        "teardown": io.teardown,
    }
    with pytest.raises((UserError, OSError), match="file"):
        occasions[then]()
    io.save_checkpoint(content(), tmp_path / "last.ckpt")
    io.teardown()
    assert (tmp_path / "last.ckpt").is_file()


def test_what_waits_behind_a_failure_is_not_written(held: Held, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    held.save_checkpoint(content(), tmp_path / "file" / "best.ckpt")
    held.save_checkpoint(content(), tmp_path / "last.ckpt")
    held.may_write.set()
    with pytest.raises(CannotWrite, match="file"):
        held.save_checkpoint(content(), tmp_path / "last.ckpt")
    held.teardown()
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("while_it", ["loads", "ends"])
def test_ctrl_c_while_the_run_waits_loses_no_failure(
    while_it: str, held: Held, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # What is started in the background is deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    (tmp_path / "file").touch()
    held.save_checkpoint(content(), tmp_path / "file" / "last.ckpt")

    def interrupted() -> None:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        held.teardown() if while_it == "ends" else held.load_checkpoint(tmp_path / "file" / "last.ckpt")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    held.may_write.set()
    with pytest.raises(CannotWrite, match="file"):
        held.teardown()
    held.teardown()


def test_a_run_that_ends_for_its_own_reason_says_a_failure_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    io = BackgroundCheckpointIO()
    (tmp_path / "last.ckpt.partial").mkdir()
    io.save_checkpoint(content(), tmp_path / "last.ckpt")
    io.settle()
    io.settle()
    io.teardown()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "last.ckpt") in line


def test_a_checkpoint_is_read_while_the_next_is_being_written(tmp_path: Path) -> None:
    began, may_write = threading.Event(), threading.Event()

    class HeldLast(BackgroundCheckpointIO):
        def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
            if path.name == "last.ckpt":
                began.set()
                assert may_write.wait(PATIENCE_S)
            super()._put(checkpoint, path)

    io = HeldLast()
    io.save_checkpoint(content(1), tmp_path / "best.ckpt")
    io.save_checkpoint(content(2), tmp_path / "last.ckpt")
    try:
        assert io.load_checkpoint(tmp_path / "best.ckpt")["state_dict"]["w"][0] == 1
        assert began.wait(PATIENCE_S)
        assert not (tmp_path / "last.ckpt").exists()
    finally:
        may_write.set()
    io.teardown()
    assert read_checkpoint(tmp_path / "last.ckpt")["state_dict"]["w"][0] == 2


def test_memory_is_used_again_when_it_is_on_disk_and_not_before(held: Held, tmp_path: Path) -> None:
    copies = held._copies
    held.save_checkpoint(content(1.0), tmp_path / "best.ckpt")
    assert copies.bytes_missing(content()) == 16
    held.may_write.set()
    held.load_checkpoint(tmp_path / "best.ckpt")
    assert copies.bytes_missing(content()) == 0
    held.save_checkpoint(content(2.0), tmp_path / "last.ckpt")
    held.teardown()
    assert copies.bytes_missing(content()) == 16
    assert read_checkpoint(tmp_path / "best.ckpt")["state_dict"]["w"][0] == 1
    assert read_checkpoint(tmp_path / "last.ckpt")["state_dict"]["w"][0] == 2


def test_what_is_removed_does_not_come_back(held: Held, tmp_path: Path) -> None:
    held.save_checkpoint(content(), tmp_path / "last.ckpt")
    assert held.began.wait(PATIENCE_S)
    threading.Timer(0.3, held.may_write.set).start()
    held.remove_checkpoint(tmp_path / "last.ckpt")
    held.teardown()
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_a_copy_it_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io = BackgroundCheckpointIO()
    monkeypatch.setattr(background_io, "available_memory", lambda: 31)
    io.save_checkpoint(content(), tmp_path / "last.ckpt")  # 16 bytes
    thread = io._thread
    assert thread is None
    assert (tmp_path / "last.ckpt").is_file()
    monkeypatch.setattr(background_io, "available_memory", lambda: 32)
    io.save_checkpoint(content(), tmp_path / "last.ckpt")
    assert io._thread is not None
    io.teardown()


def test_it_is_free_when_all_is_written_and_its_share_of_the_time_is_kept(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(checkpoint_io, "monotonic", lambda: clock.now)
    assert held.is_free(0.5)
    held.save_checkpoint(content(), tmp_path / "last.ckpt")
    assert held.began.wait(PATIENCE_S)
    clock.now = 1000.0
    assert not held.is_free(1.0)
    held.may_write.set()
    held.load_checkpoint(tmp_path / "last.ckpt")
    assert held.is_free(1.0)
    clock.now = 1999.0
    assert not held.is_free(0.5)
    clock.now = 2000.0
    assert held.is_free(0.5)


@pytest.mark.parametrize("made", [AtomicCheckpointIO, BackgroundCheckpointIO])
def test_a_run_ends_with_its_checkpoints_on_disk(made: type[AtomicCheckpointIO], run: RunDirectory) -> None:
    checkpoints = RunCheckpoints(every_n_steps=2, max_time_share=1)
    checkpoints.write_to(run)
    seen: list[int] = []
    watched = trainer(
        run.path,
        checkpoints,
        LambdaCallback(on_save_checkpoint=lambda trainer, *_: seen.append(trainer.global_step)),
        plugins=[made()],
        max_epochs=2,
    )
    watched.fit(ScriptedModule(scores=[0.5, 0.7]), datamodule=ScriptedData(train=4))
    assert seen == [2, 4, 6, 8]
    assert read_checkpoint_steps(run) == (8, 8)
    assert not list(run.last.parent.glob("*.partial"))


def read_checkpoint_steps(run: RunDirectory) -> tuple[int, int]:
    best, last = (torch.load(path, weights_only=True) for path in (run.best, run.last))
    return best["global_step"], last["global_step"]


def test_a_full_disk_ends_the_run_in_one_line(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(checkpoint: Any, file: Any) -> None:
        raise OSError(28, "No space left on device")

    checkpoints = RunCheckpoints(every_n_steps=0)
    checkpoints.write_to(run)
    monkeypatch.setattr(torch, "save", full)
    watched = trainer(run.path, checkpoints, plugins=[BackgroundCheckpointIO()], max_epochs=1)
    with pytest.raises(UserError, match="no space left to write"):
        watched.fit(ScriptedModule(scores=[0.5]), datamodule=ScriptedData(train=4))


@pytest.mark.parametrize("made", [AtomicCheckpointIO, Slow])
def test_a_best_checkpoint_that_could_not_be_written_is_found_again_on_resume(
    made: type[AtomicCheckpointIO], run: RunDirectory
) -> None:
    in_the_way = run.best.with_name("best.ckpt.partial")

    def block(trainer: Any, *_: Any) -> None:
        if trainer.global_step == 8:
            until = time.monotonic() + PATIENCE_S
            while not run.last.exists() and time.monotonic() < until:  # those of step 4 come first
                time.sleep(0.01)
            in_the_way.mkdir()

    def fit(*others: LambdaCallback, **settings: Any) -> RunCheckpoints:
        checkpoints = RunCheckpoints(every_n_steps=0)
        checkpoints.write_to(run)
        watched = trainer(run.path, *others, checkpoints, plugins=[made()], max_epochs=3)
        watched.fit(ScriptedModule(scores=[0.5, 0.9, 0.7]), datamodule=ScriptedData(train=4), **settings)
        return checkpoints

    with pytest.raises(UserError, match=r"cannot write .*best\.ckpt"):
        fit(LambdaCallback(on_validation_start=block))
    assert read_checkpoint_steps(run) == (4, 4)
    in_the_way.rmdir()
    assert fit(ckpt_path=run.last).best_step == 8
    assert read_checkpoint_steps(run) == (8, 12)
