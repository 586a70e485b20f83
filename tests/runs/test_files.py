import errno
import os
from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.files import COMPARISON, atomic_file, explain, write_atomically
from peft_lightning.runs.progress import VARIABLE


def break_off(path: Path, error: BaseException) -> None:
    """Writes a part of the new content and no more."""
    with atomic_file(path) as file:
        file.write(b"half of the n")
        raise error


def test_the_old_content_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, b"old")
    with atomic_file(path) as file:
        file.write(b"n")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"ew")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["results.json"]


@pytest.mark.parametrize("error", [ValueError("bad value"), KeyboardInterrupt()])
def test_a_writer_that_breaks_off_leaves_the_old_content(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, b"old")
    with pytest.raises(type(error)):
        break_off(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_leaves_the_old_content_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, b"old")
    with pytest.raises(UserError, match=r"no space left to write .*results\.json"):
        break_off(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_file_left_by_a_killed_writer_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    (tmp_path / "results.json.partial").write_bytes(b"half of a much longer content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        write_atomically(tmp_path / "nowhere" / "results.json", b"new")


def test_explanations_are_one_line_with_the_mend() -> None:
    for number in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        line = explain(OSError(number, os.strerror(number)), Path("some/place"))
        assert "some/place" in line
        assert "--trainer.default_root_dir" in line
        assert "\n" not in line
        compared = explain(OSError(number, os.strerror(number)), Path("some/place"), COMPARISON)
        assert "--resume" in compared
        assert "--trainer" not in compared  # which a comparison refuses


def test_a_run_of_a_comparison_names_what_its_user_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "progress.json"))
    with pytest.raises(UserError, match="go on with --resume") as refused:
        break_off(tmp_path / "last.ckpt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert "--trainer" not in str(refused.value)
    assert "--ckpt_path" not in str(refused.value)
