import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from peft_lightning.data.sources.tables import read_table, read_texts
from peft_lightning.errors import UserError

Write = Callable[[str, str | bytes], Path]
TABLE = {"text": ["good", "bad\nso bad", "été 😀"], "label": ["p", "n", "p"]}


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_pandas_own_json_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pd.DataFrame(TABLE).to_json(path)
    split = read_table(path, "text", "label")
    assert (split.texts, split.labels) == (TABLE["text"], TABLE["label"])


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_lists_is_read(write: Write, indent: int | None) -> None:
    path = write("a.json", json.dumps({**TABLE, "title": "reviews"}, indent=indent))
    assert read_table(path, "text", "label").labels == TABLE["label"]
    assert read_texts(path, "text") == TABLE["text"]


def test_columns_are_matched_by_their_rows_names(write: Write) -> None:
    path = write("a.json", '{"text": {"7": "good", "3": "bad"}, "label": {"3": 0, "7": 1}}')
    split = read_table(path, "text", "label")
    assert (split.texts, split.labels) == (["good", "bad"], [1, 0])


@pytest.mark.parametrize("orient", ["split", "index", "table"])
def test_other_orients_are_refused_with_one_that_is_read(tmp_path: Path, orient: Any) -> None:
    path = tmp_path / "a.json"
    pd.DataFrame(TABLE).to_json(path, orient=orient)
    with pytest.raises(UserError, match=r"a.json is one JSON object .*orient='records', lines=True"):
        read_table(path, "text", "label")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"text": "so \\ud83d", "label": 0}\n',
            r"row 2 of .*half of a .*\\ud83d",
        ),
        ("a.json", '[{"text": "a", "label": "\\udc00"}]', r"row 1 of .*a.json has half of a character, \\udc00"),
        ("a.jsonl", "[" * 100_000 + "\n", "line 1 of .*a.jsonl is nested too deeply"),
        (
            "a.json",
            '{"text": ["a", "b"], "label": [1]}',
            "only one of the columns 'text' and 'label' of .* has a row 1",
        ),
        ("a.json", "[]", "a.json has no rows"),
        ("a.json", '{"text": {}, "label": {}}', "a.json has no rows"),
        ("a.jsonl", '{"text": "a", "label": 1e999}\n{"text": "b", "label": 0}\n', "row 1 of .* label inf, which is no"),
    ],
)
def test_bad_values_are_named_by_row(write: Write, name: str, content: str, message: str) -> None:
    from peft_lightning.data.sources import read_corpus

    with pytest.raises(UserError, match=message) as refused:
        read_corpus(str(write(name, content)), "text", "label", 0)
    assert "\n" not in str(refused.value)


def test_whole_characters_and_nul_are_texts_like_any_other(write: Write) -> None:
    content = '{"text": "\\ud83d\\ude00 yes", "label": 1}\n{"text": "a\\u0000b", "label": 0}\n'
    assert read_table(write("a.jsonl", content), "text", "label").texts == ["😀 yes", "a\0b"]
