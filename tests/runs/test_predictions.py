from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.predictions import read_answers, write_predictions


def write(path: Path, class_names: list[str] | None = None) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    write_predictions(path, np.array([7, 3, 5]), np.array([0, 0, 1]), probabilities, class_names)


def test_answers_read_back_in_the_source_s_order(tmp_path: Path) -> None:
    write(tmp_path / "predictions.parquet", ["bad", "good"])
    answers = read_answers(tmp_path / "predictions.parquet")
    assert answers.ids.tolist() == [3, 5, 7]
    assert answers.predictions.tolist() == [1, 1, 0]
    assert answers.correct.tolist() == [False, True, True]
    assert answers.confusion().tolist() == [[1, 1], [0, 1]]
    assert answers.class_names == ("bad", "good")


def test_a_file_without_names_of_classes_is_read(tmp_path: Path) -> None:
    write(tmp_path / "predictions.parquet")
    assert read_answers(tmp_path / "predictions.parquet").class_names is None


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"cannot read .*predictions.parquet"):
        read_answers(path)
    write(path)
    pq.write_table(pq.read_table(path).drop(["label"]), path)
    with pytest.raises(UserError, match=r"cannot read .*predictions.parquet"):
        read_answers(path)
