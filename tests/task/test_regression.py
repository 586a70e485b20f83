"""Labels that are numbers: how they are found, which are refused, and how they are learned."""

from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.errors import UserError
from peft_lightning.task import MultiLabel, Regression, SingleLabel, Task, find_task
from peft_lightning.task.base import HeadStart


def split(labels: list[Any], names: list[str] | None = None, columns: tuple[str, ...] = (), name: str = "a.csv") -> Any:
    return RawSplit(name, ["text"] * len(labels), labels, names, columns)


@pytest.mark.parametrize(
    ("train", "names", "targets"),
    [
        (split([0.5, 1, 2.25]), (), [0.5, 1, 2.25]),
        (split(["0.5", " 1 ", "2.5e-1", "-3"]), (), [0.5, 1, 0.25, -3]),
        (split([[0.5, 1], [2, 3]]), ("value_0", "value_1"), [[0.5, 1], [2, 3]]),
        (split([[0.5], [2]]), (), [0.5, 2]),
        (split([(1, "2.5"), (3, "4")], columns=("x", "y")), ("x", "y"), [[1, 2.5], [3, 4]]),
    ],
)
def test_decimals_and_lists_and_columns_with_them_are_numbers(
    train: RawSplit, names: tuple[str, ...], targets: Any
) -> None:
    task, found, _ = find_task(train, None)
    assert task == Regression(names)
    assert found.dtype == np.float32
    assert found.tolist() == targets


def test_whole_numbers_are_classes_unless_numbers_are_asked_for() -> None:
    for labels in ([1, 2, 3], ["1", "2.0", "3"], [1.0, 2.0, 3.0]):
        assert isinstance(find_task(split(labels), None)[0], SingleLabel)
        task, targets, _ = find_task(split(labels), None, "regression")
        assert (task, targets.tolist()) == (Regression(), [1, 2, 3])
    named = split([0, 2, 1], ["bad", "fair", "good"])
    assert isinstance(find_task(named, None)[0], SingleLabel)
    assert find_task(named, None, "regression")[1].tolist() == [0, 2, 1]
    # A different number in nearly every row may be an identifier, so it is asked about.
    with pytest.raises(UserError, match=r"80 different labels in 80 rows.*problem_type='regression'"):
        find_task(split(list(range(80))), None)


@pytest.mark.parametrize(
    ("train", "test", "asked", "message"),
    [
        (
            split([1.5, 2.5, "n/a"]),
            None,
            None,
            "row 3 of a.csv has the label 'n/a', which is no number: mend.*all labels",
        ),
        (split(["1.5", "2.5", "nan", "1.5"]), None, None, "row 3 of a.csv has the label 'nan', which is no number"),
        (split([1.5, float("inf"), 2.5]), None, None, "row 2 of a.csv has the label inf, which is no number"),
        (split([1.5, 1e39, 2.5]), None, None, r"row 2 of a.csv has the label 1e\+39, which is no number"),
        (split([1.5, 2.5]), split(["x"], name="t.csv"), None, "row 1 of t.csv has the label 'x', which is no number"),
        (split([[1.5, 2], [1.5]]), None, None, "row 2 of a.csv has 1 number and the others 2"),
        (split([[1.5, 2], 3.0]), None, None, "row 2 of a.csv has the label 3, and other rows have lists of 2 numbers"),
        (split([[1.5, float("nan")], [1, 2]]), None, None, "row 1 of a.csv has the label nan, which is no number"),
        (split(["good", "bad"]), None, "regression", "row 1 of a.csv has the label 'good', which is no number: mend"),
        (split([1.5, 1.5]), None, "regression", "the label is 1.5 in all rows of a.csv"),
        (split([(1, 2), (1, 3)], columns=("x", "y")), None, None, "the label 'x' is 1 in all rows of a.csv"),
        (split([(1, 2), (3, "b")], columns=("x", "y")), None, "regression", "row 2 of a.csv has the label 'b'"),
        (
            split([(1, 2), (3, "b")], columns=("x", "y")),
            None,
            None,
            "row 2 of a.csv has 'b' in the column 'y': several",
        ),
        (
            split([(1, True), (3, False)], columns=("x", "y")),
            None,
            None,
            "columns of a.csv mix truth values and numbers",
        ),
    ],
)
def test_labels_that_are_no_numbers_are_one_line_that_names_the_row(
    train: RawSplit, test: RawSplit | None, asked: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_task(train, test, asked)


def test_an_unknown_problem_type_is_one_line() -> None:
    with pytest.raises(UserError, match="problem_type 'ordinal' is unknown: one of single_label_classification, multi"):
        find_task(split([1, 2]), None, "ordinal")


def test_losses_are_in_units_of_the_variance_and_only_the_trained_one_is_huber_s() -> None:
    targets = np.array([2.0, 4.0, 6.0, 8.0], np.float32)  # variance 5
    task = Regression().fitted(targets)
    assert task.head_start == HeadStart((5.0,), (pytest.approx(5**0.5),))  # type: ignore[arg-type]
    logits, labels = torch.tensor([[2.0], [4.0], [6.0], [18.0]]), torch.from_numpy(targets)
    assert float(task.loss(logits, labels)) == pytest.approx(100 / 4 / 5)
    robust = task.configured(None, 0.0, huber_delta=2.0)
    # 2 * (10 - 1): linear from 2 on.
    assert float(robust.loss(logits, labels)) == pytest.approx(18 / 4 / 5)
    for one in (task, robust):
        measured = one.metrics()
        measured.update(logits, labels)
        found = measured.compute_and_reset("val")
        assert float(found["val/loss"]) == pytest.approx(100 / 4 / 5)
        assert float(found["val/mae"]) == pytest.approx(2.5)
    several = Regression(("x", "y")).fitted(np.array([[0, 0], [2, 200]], np.float32))
    # Each number counts in its own unit: an error of a standard deviation each.
    assert float(several.loss(torch.tensor([[1.0, 100.0]]), torch.zeros(1, 2))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"class_names": ["a"]}, "class_names"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"class_weights": "balanced"}, "class_weights"),
        ({"focal_gamma": 2.0}, "focal_gamma"),
    ],
)
def test_settings_of_classes_are_refused(setting: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=rf"model.{word} .*which regression has none of"):
        Regression().configured(**{"class_names": None, "label_smoothing": 0.0, **setting})


@pytest.mark.parametrize("names", [(), ("x", "y")])
def test_answers_come_back_from_their_columns(names: tuple[str, ...]) -> None:
    task = Regression(names)
    shape = (3, 2) if names else (3,)
    targets = np.arange(6, dtype=np.float32)[: int(np.prod(shape))].reshape(shape)
    answers = targets + 0.5
    columns = {**task.label_columns(targets), **task.columns(answers)}
    assert list(columns) == (
        ["label_0", "label_1", "prediction_0", "prediction_1"] if names else ["label", "prediction"]
    )
    again, labels, found = Regression.from_columns(columns, task.state())
    assert again == task == Regression.from_state(task.state())
    assert (labels == targets).all()
    assert (found == answers).all()
    assert task.score(found, labels).tolist() == [-0.5] * 3
    line = task.line(answers[0].tolist())
    assert line == ({"values": {"x": 0.5, "y": 1.5}} if names else {"value": 0.5})
    assert task.label_in_words(targets[1].tolist()) == ("x 2, y 3" if names else "1")
    with pytest.raises((ValueError, KeyError)):
        Regression.from_columns({"label": np.zeros(3)}, task.state())


@pytest.mark.parametrize(
    "task", [Regression(), Regression(("stars", "length")), SingleLabel(("a", "b")), MultiLabel(("a", "b"))]
)
def test_the_names_of_an_exported_models_outputs_bring_its_task_back(task: Task) -> None:
    assert type(task).of_outputs(task.output_names) == task


def test_transformers_own_name_of_a_single_number_is_none() -> None:
    assert Regression.of_outputs(["LABEL_0"]) == Regression()
