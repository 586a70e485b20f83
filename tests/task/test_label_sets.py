"""Labels of texts that may have several: how they are found, and which are refused."""

from typing import Any

import numpy as np
import pytest

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.errors import UserError
from peft_lightning.task import MultiLabel, SingleLabel, find_task


def split(labels: list[Any], names: list[str] | None = None, columns: tuple[str, ...] = (), name: str = "a.csv") -> Any:
    return RawSplit(name, ["text"] * len(labels), labels, names, columns)


@pytest.mark.parametrize(
    ("train", "names", "targets", "words"),
    [
        (split([["b", "a"], ["a"], []]), ("a", "b"), [[1, 1], [1, 0], [0, 0]], "lists of labels"),
        (split([[10, 9], [9.0]]), ("9", "10"), [[1, 1], [1, 0]], "lists of labels"),
        (split([[2, 0], [0]], ["bad", "fair", "good"]), ("bad", "good"), [[1, 1], [1, 0]], "lists of labels"),
        (split([[0, 1, 1], [1, 0, 1]]), ("0", "1", "2"), [[0, 1, 1], [1, 0, 1]], "lists of 0 and 1"),
        (split([[0.0, 1.0], [1.0, 0.0]], ["x", "y"]), ("x", "y"), [[0, 1], [1, 0]], "lists of 0 and 1"),
        (split(["a;b", "b", "c; a ;", ";"]), ("a", "b", "c"), [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]], "';'"),
        (split(["x|y", "y"]), ("x", "y"), [[1, 1], [0, 1]], "labels separated by '|'"),
        (split(["['p', 'q']", "[]"]), ("p", "q"), [[1, 1], [0, 0]], "lists of labels, as pandas writes them"),
        (split([(0, "1"), (True, "0")], columns=("u", "v")), ("u", "v"), [[0, 1], [1, 0]], "columns of 0 and 1"),
    ],
)
def test_lists_delimited_words_and_columns_of_0_and_1_are_several_labels(
    train: RawSplit, names: tuple[str, ...], targets: list[list[int]], words: str
) -> None:
    task, found, none = find_task(train, None)
    assert task == MultiLabel(names)
    assert found.tolist() == targets
    assert none is None
    assert words in task.found_in


def test_a_mark_that_no_part_recurs_around_belongs_to_the_name_of_a_class() -> None:
    assert isinstance(find_task(split(["food; drink", "travel", "travel"]), None)[0], SingleLabel)
    # A comma never separates unasked.
    assert isinstance(find_task(split(["arts, books", "arts", "books"]), None)[0], SingleLabel)
    task, targets, _ = find_task(split(["arts, books", "arts", "books"]), None, "multi_label_classification")
    assert task == MultiLabel(("arts", "books"))
    assert targets.tolist() == [[1, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("train", "names", "targets"),
    [
        (split([["b"], ["a"]]), ("a", "b"), [1, 0]),
        (split([[1], [0]], ["no", "yes"]), ("no", "yes"), [1, 0]),
        (split([(0, 1, 0), (1, 0, 0), (0, 0, 1)], columns=("u", "v", "w")), ("u", "v", "w"), [1, 0, 2]),
        (split(["a;b", "b", "a;b"]), ("a;b", "b"), [0, 1, 0]),
        (split([1.5, 0.5, "1.50", "3"]), ("0.5", "1.5", "3"), [1, 0, 1, 2]),
    ],
)
def test_what_looks_like_another_task_is_single_labels_where_that_is_asked_for(
    train: RawSplit, names: tuple[str, ...], targets: list[int]
) -> None:
    task, found, _ = find_task(train, None, "single_label_classification")
    assert task == SingleLabel(names)
    assert found.tolist() == targets


def test_single_labels_are_labels_that_each_may_be_given_where_that_is_asked_for() -> None:
    task, targets, test = find_task(split([1, 0, 2]), split([2], name="t.csv"), "multi_label_classification")
    assert task == MultiLabel(("0", "1", "2"))
    assert targets.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert test is not None
    assert test.tolist() == [[0, 0, 1]]


MULTI, SINGLE = "multi_label_classification", "single_label_classification"


@pytest.mark.parametrize(
    ("train", "test", "asked", "message"),
    [
        (split([["a"], "b"]), None, None, "row 2 of a.csv has the label 'b', and other rows have lists"),
        (split([["a", 1], ["b"]]), None, None, "row 1 of a.csv mixes numbers and words"),
        (split([["a", None], ["b"]]), None, None, "row 1 of a.csv mixes numbers and words"),
        (split([[None], ["b"]]), None, None, "row 1 of a.csv has None among its labels"),
        (split([["a"], [["b"]]]), None, None, r"row 2 of a.csv has \['b'\] among its labels"),
        (split([[0], [5]], ["n", "p"]), None, None, "row 2 of a.csv has 5 among its labels"),
        (split([["a"], ["b"]]), split([["c"]], name="t.csv"), None, "row 1 of t.csv has the label 'c', which training"),
        (split([["a"], ["b"]]), split(["a"], name="t.csv"), None, "row 1 of t.csv has the label 'a', and other rows"),
        (split([[0, 1], [1, 1]]), split([[1]], name="t.csv"), None, "row 1 of t.csv has 1 values and the others 2"),
        (
            split([[0, 1], [1, 1]]),
            split([[1, 7]], name="t.csv"),
            None,
            "row 1 of t.csv holds 7, and the others 0 and 1",
        ),
        (split([["a"], ["a"]]), None, None, r"all rows of a.csv have the same labels \(a\)"),
        (split([[], []]), None, None, r"all rows of a.csv have the same labels \(none\)"),
        (split(["['a']", "[b"]), None, MULTI, None),
        (split(["['a']", "[b]"]), None, None, r"row 2 of a.csv has the label '\[b\]', which is no list"),
        (split([(0, 1), (1, "x")], columns=("u", "v")), None, None, "row 2 of a.csv has 'x' in the column 'v'"),
        (split([(0, 1), (1, "x")], columns=("u", "v")), None, MULTI, "row 2 of a.csv has 'x' in the column 'v'"),
        (
            split([(0, 1), (1, 1)], columns=("u", "v")),
            None,
            SINGLE,
            "row 2 of a.csv has the labels u, v, and one class",
        ),
        (split([(0, 0), (1, 0)], columns=("u", "v")), None, SINGLE, "row 1 of a.csv has no label, and one class"),
        (split([(0, 7), (1, 0)], columns=("u", "v")), None, SINGLE, "row 1 of a.csv has 7 in the column 'v'"),
        (split([["a", "b"], ["b"]]), None, SINGLE, "row 1 of a.csv has the labels a, b, and one class is asked for"),
        (split([0.5, 1.5]), None, MULTI, "row 1 of a.csv has 0.5 among its labels, which is no label"),
        (split([[n] for n in range(30)]), None, None, "a.csv has 30 different labels in 30 rows"),
    ],
)
def test_labels_that_cannot_be_read_are_one_line_that_names_the_row(
    train: RawSplit, test: RawSplit | None, asked: str | None, message: str | None
) -> None:
    if message is None:
        assert find_task(train, test, asked)[0] == MultiLabel(("['a']", "[b"))
        return
    with pytest.raises(UserError, match=message):
        find_task(train, test, asked)


def test_subsets_have_their_share_of_a_rare_label() -> None:
    from peft_lightning.data.sampling import draw_training_and_validation

    targets = np.zeros((400, 3), dtype=np.int8)
    targets[::2, 0] = targets[::4, 1] = targets[::20, 2] = 1
    task = MultiLabel(("often", "sometimes", "rare"))
    train, val = draw_training_and_validation(task.strata(targets), 200, 100, seed=1)
    assert [int(targets[rows, 2].sum()) for rows in (train, val)] == [10, 5]


def test_answers_come_back_from_their_columns_and_are_told_in_words() -> None:
    task = MultiLabel(("a", "b"))
    answers = np.array([[0.9, 0.2], [0.5, 0.51], [0.1, 0.2]], np.float32)
    targets = np.array([[1, 1], [0, 1], [0, 0]], np.int8)
    columns = {**task.label_columns(targets), **task.columns(answers)}
    assert list(columns) == ["label_0", "label_1", "prediction_0", "prediction_1", "probability_0", "probability_1"]
    again, labels, found = MultiLabel.from_columns(columns, task.state())
    assert again == task == MultiLabel.from_state(task.state())
    assert (labels == targets).all()
    assert (found == answers).all()
    # One of two labels is found: 2 * 1 / (1 + 2). An empty set that is right scores 1.
    assert task.score(found, labels).tolist() == pytest.approx([2 / 3, 1, 1])
    assert task.line([0.9, 0.25]) == {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.25}}
    assert [task.label_in_words(row) for row in targets.tolist()] == ["a, b", "b", "none"]
    with pytest.raises(ValueError, match="no answers to labels"):
        MultiLabel.from_columns({**columns, "label_0": np.array([0, 2, 1])}, task.state())
    with pytest.raises(ValueError, match="no names of 2 labels"):
        MultiLabel.from_columns(columns, {"class_names": ["a"]})
    with pytest.raises(KeyError):
        MultiLabel.from_state({})
