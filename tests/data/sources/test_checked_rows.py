import itertools
from typing import Any

import pyarrow as pa
import pytest

from peft_lightning.data.sources.checked_rows import checked_split, checked_texts, numbered_rows
from peft_lightning.errors import UserError
from tests.data.sources.test_columns import TEXTS


@pytest.mark.parametrize(
    ("bad", "words"),
    [(None, "has no text"), ("", "is blank"), (" \t\n", "is blank"), ("\u00a0\u2003\x1f", "is blank")],
)
def test_the_first_row_without_a_text_is_named_in_arrow_as_in_a_list(bad: str | None, words: str) -> None:
    fine = [" leading space", "привет", "\u00a0x", "映画"]
    rows = [*fine, bad, "film", None]
    messages = []
    for texts in (rows, pa.chunked_array([rows[:3], rows[3:]]), pa.chunked_array([rows]).dictionary_encode()):
        with pytest.raises(UserError, match=f"row 5 of a.csv {words}|text in row 5 of a.csv {words}") as caught:
            checked_texts(texts, numbered_rows("a.csv"))
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert checked_texts(pa.chunked_array([fine]), numbered_rows("a.csv")) == fine


def test_a_column_of_numbers_is_no_column_of_texts() -> None:
    for texts in ([1, 2], pa.chunked_array([[1, 2]])):
        with pytest.raises(UserError, match=r"the text in row 1 of a.csv is a int, not text"):
            checked_texts(texts, numbered_rows("a.csv"))


@pytest.mark.parametrize("missing", [None, float("nan"), " "])
def test_a_row_without_a_label_is_named_in_arrow_as_in_a_list(missing: Any) -> None:
    labels = [["x", "y", missing, missing], [0.5, 1.0, missing, missing]][isinstance(missing, float)]
    as_column = pa.chunked_array([labels])
    spellings: list[Any] = [labels, as_column]
    spellings += [as_column.dictionary_encode()] if isinstance(labels[0], str) else []
    for given in spellings:
        with pytest.raises(UserError, match=r"row 3 of a.csv has no label"):
            checked_split("a.csv", pa.chunked_array([TEXTS[:4]]), given)


def test_a_column_without_rows_is_refused_as_a_list_is() -> None:
    for texts, labels in itertools.product(([], pa.chunked_array([], pa.string())), repeat=2):
        with pytest.raises(UserError, match=r"a.csv has no rows"):
            checked_split("a.csv", texts, labels)
