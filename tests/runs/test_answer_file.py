from pathlib import Path

import numpy as np
import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.answer_file import AnswerFile

SIZE = 4
DIGESTS = [bytes([window]) * 16 for window in range(3)]


def opened(path: Path | None, **made_with: object) -> AnswerFile:
    return AnswerFile(path, made_with or {"weights": "a"}, lambda row: row // SIZE)


def kept(file: AnswerFile, digests: list[bytes] = DIGESTS) -> tuple[int, set[int], bool]:
    found = file.keep_what_fits(len(digests), digests.__getitem__, lambda window: SIZE)
    return found.windows, set(found.rows), found.dropped


def filled(path: Path) -> list[int]:
    """Writes two windows and a half, a batch of two rows each; returns the file's size after each batch."""
    file = opened(path)
    kept(file)
    sizes = [path.stat().st_size]
    for rows in ([1, 3], [0, 2], [4, 5], [7, 6], [9, 8]):
        file.add(DIGESTS[rows[0] // SIZE], np.array(rows), np.array([[row / 8, 1] for row in rows], np.float32))
        sizes.append(path.stat().st_size)
    file.close(remove=False)
    return sizes


def test_answers_come_back_by_window_in_the_order_of_their_rows(tmp_path: Path) -> None:
    filled(tmp_path / "answers")
    file = opened(tmp_path / "answers")
    assert kept(file) == (2, {8, 9}, False)
    assert [window[:, 0].tolist() for window in file.windows()] == [
        [0, 1 / 8, 2 / 8, 3 / 8],
        [4 / 8, 5 / 8, 6 / 8, 7 / 8],
        [1.0, 9 / 8],
    ]


def test_whole_records_are_kept_wherever_its_writer_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    sizes = filled(path)
    content = path.read_bytes()
    for end in range(sizes[0], len(content), 13):
        path.write_bytes(content[:end])
        file = opened(path)
        windows, rows, _ = kept(file)
        assert windows * SIZE + len(rows) == 2 * (sum(size <= end for size in sizes) - 1)
        assert path.stat().st_size == max(size for size in sizes if size <= end)
        file.close(remove=False)
    for end in (0, 5, sizes[0] - 1):
        path.write_bytes(content[:end])
        file = opened(path)
        assert kept(file) == (0, set(), False)
        file.close(remove=False)


def test_a_damaged_record_ends_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    sizes = filled(path)
    content = bytearray(path.read_bytes())
    content[sizes[2] + 40] ^= 1
    path.write_bytes(content)
    assert kept(opened(path)) == (1, set(), True)


def test_what_was_made_with_other_weights_is_dropped_and_named(tmp_path: Path) -> None:
    filled(tmp_path / "answers")
    file = opened(tmp_path / "answers", weights="b")
    assert file.changed == ["weights"]
    assert kept(file) == (0, set(), False)
    assert list(file.windows()) == []


def test_windows_before_a_changed_text_are_kept(tmp_path: Path) -> None:
    filled(tmp_path / "answers")
    file = opened(tmp_path / "answers")
    assert kept(file, [DIGESTS[0], b"x" * 16, DIGESTS[2]]) == (1, set(), True)
    assert len(list(file.windows())) == 1


def test_two_processes_never_write_the_same_file(tmp_path: Path) -> None:
    first = opened(tmp_path / "answers")
    with pytest.raises(UserError, match="another process is predicting into"):
        opened(tmp_path / "answers")
    first.close(remove=True)
    assert not (tmp_path / "answers").exists()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("my notes\n")
    with pytest.raises(UserError, match="is another file: move it away"):
        opened(tmp_path / "answers")
    assert (tmp_path / "answers").read_text() == "my notes\n"


def test_without_a_name_it_keeps_answers_until_it_is_closed() -> None:
    file = opened(None)
    kept(file)
    file.add(DIGESTS[0], np.array([1, 0]), np.array([[1.0], [0.0]]))
    assert [window.tolist() for window in file.windows()] == [[[0.0], [1.0]]]
    file.close(remove=True)
