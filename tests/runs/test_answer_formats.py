import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs import answer_formats
from peft_lightning.runs.answer_formats import format_for
from peft_lightning.task import MultiLabel, SingleLabel
from peft_lightning.task.labelled_rows import PlainRows

TASK = SingleLabel(("a, quoted", "großartig"))
ANSWERS = np.array([[0.25, 0.75], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0], [0.125, 0.875]], np.float32)


def written(name: str | None, *portions: int) -> bytes:
    return b"".join(format_for(name, TASK).parts(np.split(ANSWERS, portions)))


@pytest.mark.parametrize("name", [None, "a.jsonl", "a.txt", "/dev/stdout"])
def test_lines_are_those_of_the_task(name: str | None) -> None:
    lines = written(name).decode().splitlines()
    assert lines[0] == '{"label": "großartig", "probabilities": {"a, quoted": 0.25, "großartig": 0.75}}'
    assert [json.loads(line) for line in lines] == [TASK.line(answer) for answer in ANSWERS.tolist()]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("A.TSV", "\t")])
def test_a_delimited_table_has_a_header_once(name: str, mark: str) -> None:
    rows = list(csv.reader(io.StringIO(written(name, 2, 4).decode()), delimiter=mark))
    assert rows[0] == ["label", "prediction", "probability_0", "probability_1"]
    assert rows[1:3] == [["großartig", "1", "0.25", "0.75"], ["a, quoted", "0", "0.9", "0.1"]]
    assert len(rows) == 6


def test_parquet_has_the_tasks_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(answer_formats, "_ROW_GROUP", 2)
    table = pq.read_table(io.BytesIO(written("a.parquet", 1, 4)))
    assert table.column("label").to_pylist() == [TASK.line(answer)["label"] for answer in ANSWERS.tolist()]
    assert table.column("probability_1").to_pylist() == ANSWERS[:, 1].tolist()
    assert table.column("prediction").to_pylist() == [1, 0, 0, 1, 1]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_of_several_labels_names_them_and_is_read_as_labels(name: str, tmp_path: Path) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    answers = np.array([[0.9, 0.6], [0.1, 0.75], [0.2, 0.3]], np.float32)
    (tmp_path / name).write_bytes(b"".join(format_for(name, MultiLabel(("a, quoted", "großartig"))).parts([answers])))
    table = (pq.read_table if name.endswith("parquet") else pa_csv.read_csv)(tmp_path / name)
    labels = table.column("labels").to_pylist()
    assert labels == ['["a, quoted", "großartig"]', '["großartig"]', "[]"]
    assert table.column("prediction_1").to_pylist() == [1, 1, 0]
    task, targets, _ = MultiLabel.find(PlainRows("train.csv", labels), None)
    assert (task.label_names, targets.tolist()) == (("a, quoted", "großartig"), [[1, 1], [0, 1], [0, 0]])


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_the_portions_that_answers_come_in_leave_no_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_formats, "_ROW_GROUP", 2)
    assert written(name, 1, 3, 4) == written(name)


def test_a_name_with_gz_is_compressed_without_the_time_of_day() -> None:
    assert gzip.decompress(written("a.csv.gz", 2, 4)) == written("a.csv", 2, 4)
    assert written("a.jsonl.gz", 2)[4:8] == bytes(4)
    with pytest.raises(UserError, match=r"leave \.gz out"):
        format_for("a.parquet.gz", TASK)
