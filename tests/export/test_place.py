from __future__ import annotations

from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.export.place import REPORT, Place


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    Place(tmp_path / "mine")
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not empty, and an export replaces nothing"):
        Place(tmp_path / "mine")
    with pytest.raises(UserError, match="is no folder"):
        Place(tmp_path / "mine" / "letter.txt")


def test_it_appears_only_once_it_is_whole(tmp_path: Path) -> None:
    place = Place(tmp_path / "deep" / "mine")
    with place.making() as folder:
        (folder / "model").write_text("weights")
        assert not place.folder.exists()
        place.take()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine"]
    assert (place.folder / "model").read_text() == "weights"


def test_nothing_stays_of_one_that_was_stopped(tmp_path: Path) -> None:
    def stopped() -> None:
        with Place(tmp_path / "mine").making() as folder:
            (folder / "model").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_one_replaces_only_a_failed_one(tmp_path: Path) -> None:
    (tmp_path / "mine.failed").mkdir()
    (tmp_path / "mine.failed" / "letter.txt").write_text("dear")
    for attempt in ("first", "second"):
        place = Place(tmp_path / "mine")
        with place.making() as folder:
            (folder / REPORT).write_text(attempt)
            assert place.keep_aside() == tmp_path / "mine.failed_2"
    assert (tmp_path / "mine.failed_2" / REPORT).read_text() == "second"
    assert (tmp_path / "mine.failed" / "letter.txt").exists()
    assert not (tmp_path / "mine").exists()


def test_a_full_disk_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no space left to write .*mine: free some"), Place(tmp_path / "mine").making():
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(UserError, match="no space left"), Place(tmp_path / "mine").making():
        raise OSError(28, "No space left on device")
