import pytest

from peft_lightning.data.duplicates import Duplicates, count_duplicates, duplicates_in_words, without_duplicates


def test_rows_are_counted_not_texts() -> None:
    counted = count_duplicates(["a", "b", "a", "a", "c"], ["b", "x", "b"], ["a", "y", "a", "x"])
    assert counted == Duplicates(train_repeats=2, val_in_train=2, test_in_train=2)
    assert count_duplicates(["a"], ["A"], ["a "]) == Duplicates(0, 0, 0)


def test_the_first_of_each_text_stays_unless_it_is_evaluated() -> None:
    assert without_duplicates(["a", "b", "a", "c", "b"], [["c", "z"], []]).tolist() == [0, 1]
    assert without_duplicates(["a", "a"], [["a"]]).tolist() == []


FIGURES = {"n_train": 200, "n_val": 10, "n_test": 40, "train_repeats": 1, "val_in_train": 0, "test_in_train": 0}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({}, None),
        (
            {"test_in_train": 30},
            "also in training: 30 of 40 test texts (75.0%); --data.deduplicate true leaves them out",
        ),
        (
            {"test_in_train": 30, "val_in_train": 1},
            "also in training: 30 of 40 test texts (75.0%) and 1 of 10 validation texts (10.0%); --data",
        ),
        ({"train_repeats": 2}, "repeated in training: 2 of 200 texts (1.0%); --data.deduplicate true"),
        ({"removed_from_train": 1200}, "1,200 duplicates were left out of the training split"),
    ],
)
def test_what_is_said_of_them(found: dict[str, int], line: str | None) -> None:
    words = duplicates_in_words({**FIGURES, "removed_from_train": 0, **found}, "text")
    assert words is None if line is None else words is not None and words.startswith(f"data: {line}")
