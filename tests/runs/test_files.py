import doctest
import errno
import os
import pickle
from pathlib import Path

import pytest

import peft_lightning.runs.files
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite, Mend, atomic_file, write_atomically


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_what_cannot_be_written_is_one_line_with_the_mend(number: int) -> None:
    error = CannotWrite.because(OSError(number, os.strerror(number)), Path("some/place"))
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert (error.path, error.reason, error.no_space) == (Path("some/place"), os.strerror(number), full)
    line = str(error)
    assert "some/place" in line
    assert ("free some" if full else "choose another folder") in line
    assert "--" not in line
    assert "\n" not in line


def test_the_first_to_say_what_to_do_is_heard() -> None:
    error = CannotWrite(Path("report.html"), "Permission denied")
    mended = error.mended(Mend(no_space=("free some",), refused=("write the report again",)))
    assert str(mended) == "cannot write report.html (Permission denied): write the report again"
    assert str(mended.mended(Mend(no_space=("x",), refused=("y",)))) == str(mended)


def test_what_could_not_be_written_can_be_told_by_another_process() -> None:
    error = CannotWrite(Path("last.ckpt"), "No space left on device", True)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.mend) == (str(error), error.path, None)


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(peft_lightning.runs.files).failed == 0
