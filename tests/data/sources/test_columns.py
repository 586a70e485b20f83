from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from peft_lightning.data.sources.checked_rows import checked_split
from peft_lightning.data.sources.columns import TextColumn, digest_of, joined, values_of
from peft_lightning.data.sources.corpus import Split

TEXTS = [f"{'ünïcode 😀 '[: n % 11]}film {n}" for n in range(40)]


def column(kind: Any = None) -> pa.ChunkedArray:
    """The texts in chunks of several sizes, an empty one and a slice of a larger array among them."""
    kind = kind or pa.string()
    chunks = [pa.array(TEXTS[:7], kind), pa.array([], kind), pa.array(["x", *TEXTS[7:20], "y"], kind).slice(1, 13)]
    return pa.chunked_array([*chunks, pa.array(TEXTS[20:], kind)])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_is_read_as_a_list_is(kind: Any) -> None:
    texts = TextColumn(column(kind))
    assert texts == TEXTS
    assert list(texts) == TEXTS
    assert texts != [*TEXTS[1:], "other"]
    assert texts != TEXTS[:-1]
    for bounds in (slice(None), slice(5, 9), slice(6, 21), slice(-3, None), slice(39, 3, -4), slice(9, 9)):
        assert texts[bounds] == TEXTS[bounds]
    assert [texts[i] for i in (0, 6, 7, 19, 20, 39, -1, -40)] == [TEXTS[i] for i in (0, 6, 7, 19, 20, 39, -1, -40)]
    for beyond in (40, -41):
        with pytest.raises(IndexError):
            texts[beyond]


def test_rows_are_taken_in_any_order_and_from_what_was_taken() -> None:
    positions = np.array([39, 0, 7, 6, 8, 8, 21, 20])
    taken = TextColumn(column()).take(positions)
    assert taken == [TEXTS[i] for i in positions]
    assert taken.take(np.array([7, 0, 3])) == [TEXTS[i] for i in (20, 39, 6)]
    assert taken[2:4] == [TEXTS[7], TEXTS[6]]
    split = Split(TextColumn(column()), np.arange(40), np.arange(40)).take(positions)
    assert isinstance(split.texts, TextColumn)
    assert [int(text.split()[-1]) for text in split.texts] == split.labels.tolist() == split.rows.tolist()


def test_the_hash_is_of_the_texts_and_of_where_each_ends() -> None:
    positions = np.array([3, 30, 8, 7])
    for kind in (pa.string(), pa.large_string()):
        assert (
            digest_of(TextColumn(column(kind))) == digest_of(TEXTS) == digest_of(TextColumn(pa.chunked_array([TEXTS])))
        )
        assert digest_of(TextColumn(column(kind)).take(positions)) == digest_of([TEXTS[i] for i in positions])
    others = [["ab", "c"], ["a", "bc"], ["abc"], ["", "abc"], ["c", "ab"], []]
    assert len({digest_of(some) for some in others}) == len(others)
    assert all(digest_of(TextColumn(pa.chunked_array([some], pa.string()))) == digest_of(some) for some in others)


@pytest.mark.parametrize(
    "labels",
    [[1, 0, 1, 1], ["a", "b", "a", "a"], [True, False, True, True], [1.0, 0.5, 1.0, -1.0], [[1], [0], [], [1, 0]]],
)
def test_labels_of_a_column_are_those_of_a_list(labels: list[Any]) -> None:
    halves = pa.chunked_array([labels[:2], labels[2:]])
    for column in (halves, pa.chunked_array([labels])):
        read = values_of(column)
        assert read == labels
        assert list(map(type, read)) == list(map(type, labels))
    split = checked_split("a.csv", pa.chunked_array([TEXTS[:4]]), halves)
    assert (split.texts, split.labels) == (TEXTS[:4], labels)


def test_decimals_of_a_database_are_numbers() -> None:
    rating = pa.chunked_array([pa.array([Decimal("3.50"), None], pa.decimal128(5, 2)), [Decimal("-1.00")]])
    assert values_of(rating) == [3.5, None, -1.0]
    assert values_of(rating.cast(pa.decimal256(40, 2))) == [3.5, None, -1.0]


def test_equal_labels_of_a_column_share_an_object() -> None:
    labels = values_of(pa.chunked_array([["positive", "negative"] * 500]))
    assert len(set(map(id, labels))) == 2


def test_columns_of_several_files_follow_each_other() -> None:
    as_list, small, large = TEXTS[:3], pa.chunked_array([TEXTS[3:9]]), column(pa.large_string())
    for columns in ([small, small], [small, large], [small.dictionary_encode(), small]):
        together = joined(columns)
        assert isinstance(together, pa.ChunkedArray)
        assert TextColumn(together) == [text for part in columns for text in part.to_pylist()]
    assert joined([small]) is small
    assert joined([as_list, small]) == TEXTS[:9]
    assert joined([pa.chunked_array([[1, 2]]), pa.chunked_array([[3]])]) == [1, 2, 3]
