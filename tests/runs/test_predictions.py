from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.predictions import Answers, read_answers, write_answers
from peft_lightning.task import SingleLabel


def write(path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    write_answers(path, Answers(np.array([7, 3, 5]), np.array([0, 0, 1]), probabilities, SingleLabel(("bad", "good"))))


def test_answers_read_back_in_the_source_s_order(tmp_path: Path) -> None:
    write(tmp_path / "predictions.parquet")
    answers = read_answers(tmp_path / "predictions.parquet")
    assert answers.ids.tolist() == [3, 5, 7]
    assert answers.task.columns(answers.answers)["prediction"].tolist() == [1, 1, 0]
    assert answers.scores.tolist() == [False, True, True]
    assert answers.right_or_wrong
    confusion = answers.confusion()
    assert confusion is not None
    assert confusion.tolist() == [[1, 1], [0, 1]]
    assert answers.task == SingleLabel(("bad", "good"))


def test_lengths_come_back_in_the_source_s_order_and_are_none_where_a_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write(path)
    answers = read_answers(path)
    assert answers.lengths is None
    # The file is sorted already: 3, 5, 7.
    write_answers(path, Answers(answers.ids[::-1], answers.labels, answers.answers, answers.task, np.array([9, 8, 4])))
    again = read_answers(path)
    assert again.lengths is not None
    assert again.lengths.tolist() == [4, 8, 9]
    assert again.ids.tolist() == [3, 5, 7]


def test_a_file_from_before_there_were_other_tasks_and_names_of_classes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write(path)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    answers = read_answers(path)
    assert answers.task == SingleLabel(("class 0", "class 1"), named=False)
    assert answers.task.label_names == ()
    assert answers.scores.tolist() == [False, True, True]


def test_a_file_of_an_unknown_task_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write(path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({"problem_type": "mind_reading"}), path)
    with pytest.raises(UserError, match=r"mind_reading is not known"):
        read_answers(path)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"cannot read .*predictions.parquet"):
        read_answers(path)
    write(path)
    pq.write_table(pq.read_table(path).drop(["label"]), path)
    with pytest.raises(UserError, match=r"cannot read .*predictions.parquet"):
        read_answers(path)
