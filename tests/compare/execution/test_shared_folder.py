"""The folder that a job's node and the comparison share."""

import os
from pathlib import Path

import pytest

from peft_lightning.compare.execution import shared_folder
from peft_lightning.compare.execution.shared_folder import MOST_IN_VAIN, SharedFolder, check_renames
from peft_lightning.errors import UserError


def test_a_folder_where_nothing_can_be_replaced_is_refused() -> None:
    with pytest.raises(UserError, match="files cannot be replaced in /proc"):
        check_renames(Path("/proc"))


def test_nothing_is_left_where_files_can_be_replaced(tmp_path: Path) -> None:
    check_renames(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_as_long_as_it_gets_on(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, "node.txt")
    assert [folder.may_go_on() for _ in range(MOST_IN_VAIN)] == [True] * (MOST_IN_VAIN - 1) + [False]
    checkpoint = tmp_path / "lightning_logs/lora/version_0/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    (checkpoint.parents[1] / "results.json").touch()
    assert folder.may_go_on()
    assert folder.may_go_on()
    os.utime(checkpoint, (1, 1))
    assert [folder.may_go_on() for _ in range(MOST_IN_VAIN + 1)] == [True] * MOST_IN_VAIN + [False]


def test_what_is_not_seen_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "VISIBLE_AFTER_S", 0.0)
    folder = SharedFolder(tmp_path, "node.txt")
    with pytest.raises(UserError, match=r"what Ray's nodes write into .* is not seen here within 0 s: run compare in"):
        folder.await_start("Ray's")
    folder.start.write_text("node\n")
    folder.await_start("Ray's")
    assert folder.started()
    folder.forget_start()
    assert not folder.started()
