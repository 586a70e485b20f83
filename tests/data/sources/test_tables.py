import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.data.sources.tables import read_table, read_texts
from peft_lightning.errors import UserError

Write = Callable[[str, str | bytes], Path]

# Everything a parser can trip over: quotes, separators, line ends, words that mean "missing" elsewhere, dates.
TEXTS = [
    'He said "no",\nand left.',
    "a\ttab, a comma",
    "NA",
    "null",
    "2001-04-06",
    "1984",
    "été \u0085 \u2028 \U0001f3ac",
]
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg", "pos"]


def quoted(separator: str, line_end: str) -> str:
    rows = [("text", "label"), *zip(TEXTS, LABELS, strict=True)]
    cells = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    return "".join(separator.join(row) + line_end for row in cells)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_text_files_give_what_was_written(write: Write, suffix: str, line_end: str, mark: str) -> None:
    if suffix in (".jsonl", ".json"):
        rows = [{"label": label, "text": text} for text, label in zip(TEXTS, LABELS, strict=True)]
        content = "".join(json.dumps(row, ensure_ascii=False) + line_end for row in rows)
    else:
        content = quoted("\t" if suffix == ".tsv" else ",", line_end)
    split = read_table(write(f"reviews{suffix}", mark + content), "text", "label")
    assert split.texts == TEXTS
    assert split.labels == LABELS


def test_a_json_file_may_be_one_list(write: Write) -> None:
    content = json.dumps([{"text": "good", "label": 1}, {"text": "bad", "label": False}], indent=2)
    assert read_table(write("reviews.json", content), "text", "label").labels == [1, False]


def test_parquet_keeps_types_and_the_names_of_labels(tmp_path: Path) -> None:
    import datasets

    path = tmp_path / "train.parquet"
    features = datasets.Features({"review": datasets.Value("string"), "y": datasets.ClassLabel(names=["neg", "pos"])})
    datasets.Dataset.from_dict({"review": TEXTS[:3], "y": [1, 0, 1]}, features=features).to_parquet(path)
    split = read_table(path, "review", "y")
    assert (split.texts, split.labels, split.label_names) == (TEXTS[:3], [1, 0, 1], ["neg", "pos"])


def test_a_review_may_be_long(write: Write) -> None:
    text = "long, " * 500_000
    assert read_table(write("reviews.csv", f'text,label\n"{text}",1\nshort,0\n'), "text", "label").texts[0] == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.jsonl", "\n", "a.jsonl is empty"),
        ("a.parquet", "", "a.parquet is empty"),
        ("a.csv", "text,label\n", "a.csv has no rows"),
        ("a.csv", "review,label\ngood,1\n", "has no column 'text' .it has 'review', 'label'.: .* with text_column"),
        ("a.csv", "text;label\ngood;1\n", "is separated by ';', not by commas: re-export it"),
        ("a.jsonl", '{"text": "good", "y": 1}\n', "has no column 'label' .it has 'text', 'y'.: .* with label_column"),
        ("a.csv", "text,text,label\na,b,1\n", "has the column 'text' twice"),
        ("a.csv", "text,label\ngood,1\n,0\n", "the text in row 2 of .*a.csv is blank"),
        ("a.csv", "text,label\ngood,1\nbad,\n", "row 2 of .*a.csv has no label"),
        ("a.csv", "text,label\ngood,1\nbad,2,3\n", "cannot read .*a.csv .*row #3: expected 2 columns, got 3"),
        ("a.jsonl", '{"text": "good", "label": 1}\n{"text": "b"}\n', "row 2 of .*a.jsonl has no label"),
        ("a.jsonl", '{"text": null, "label": 1}\n', "row 1 of .*a.jsonl has no text"),
        ("a.jsonl", '{"text": 5, "label": 1}\n', "the text in row 1 of .*a.jsonl is a int, not text"),
        ("a.jsonl", '{"text": "good", "label": 1}\n{"text": \n', "line 2 of .*a.jsonl is not JSON"),
        ("a.jsonl", '["good", 1]\n', "row 1 of .*a.jsonl is no JSON object"),
        ("a.parquet", "PAR1 not really", "cannot read .*a.parquet"),
    ],
)
def test_bad_input_is_named_in_one_line(write: Write, name: str, content: str, message: str) -> None:
    with pytest.raises(UserError, match=f"(?i){message}") as caught:
        read_table(write(name, content), "text", "label")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_what_is_not_utf8_is_named_with_its_place(write: Write, name: str) -> None:
    path = write(name, b"text,label\nfine,1\ncaf\xe9,0\n")
    with pytest.raises(UserError, match=rf"{name} is not UTF-8 \(line 3, byte 21\): .*iconv"):
        read_table(path, "text", "label")


def test_parquet_with_texts_that_are_not_utf8(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"text": raw, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 2 of .*a.parquet is not UTF-8"):
        read_table(tmp_path / "a.parquet", "text", "label")


def test_parquet_with_a_missing_value(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [1.0, None]}).to_parquet(path)
    with pytest.raises(UserError, match=r"row 2 of .*a.parquet has no label"):
        read_table(path, "text", "label")


def test_plain_text_has_one_review_a_line(write: Write) -> None:
    path = write("reviews.txt", "\ufeffgood\r\nsep\u0085arated \u2028 by nothing\r\n last \r\n\r\n\n")
    assert read_texts(path, "text") == ["good", "sep\u0085arated \u2028 by nothing", " last"]


def test_tables_to_predict_need_no_labels(write: Write) -> None:
    assert read_texts(write("a.csv", "id,review\n1,good\n2,bad\n"), "review") == ["good", "bad"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "good\n\nbad\n", "the text in line 2 of .*a.txt is blank"),
        ("a.txt", " \n", "a.txt has no rows"),
        ("a.csv", "text\n", "a.csv has no rows"),
        ("a.doc", "good\n", "a.doc has no known format: use one of .parquet, .csv"),
        ("a.csv", "review\ngood\n", "has no column 'text'"),
        ("a.txt", b"caf\xe9\n", r"a.txt is not UTF-8 \(line 1, byte 3\)"),
    ],
)
def test_bad_input_to_predict(write: Write, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_texts(write(name, content), "text")
