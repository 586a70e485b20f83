import pytest

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.errors import Setting, UserError
from peft_lightning.task import find_task
from peft_lightning.task.class_labels import class_numbers


def split(labels: list[object], names: list[str] | None = None, name: str = "train.csv") -> RawSplit:
    return RawSplit(name, ["text"] * len(labels), labels, names)


@pytest.mark.parametrize(
    ("labels", "numbers", "class_names"),
    [
        ([1, 0, 1], [1, 0, 1], ["0", "1"]),
        ([10, 9, -1], [2, 1, 0], ["-1", "9", "10"]),
        (["10", "9", "2"], [2, 1, 0], ["2", "9", "10"]),
        (["1.0", "0.0", " 1 "], [1, 0, 1], ["0", "1"]),
        ([1.0, 0.0, 1.0], [1, 0, 1], ["0", "1"]),
        ([True, False, True], [1, 0, 1], ["false", "true"]),
        (["pos", "neg", " pos"], [1, 0, 1], ["neg", "pos"]),
        (["good", "bad", "ugly", "10"], [2, 1, 3, 0], ["10", "bad", "good", "ugly"]),
    ],
)
def test_labels_become_class_numbers(labels: list[object], numbers: list[int], class_names: list[str]) -> None:
    train, test, names = class_numbers(split(labels), None)
    assert train.tolist() == numbers
    assert test is None
    assert names == class_names


def test_named_labels_keep_their_order_and_only_the_classes_there_are() -> None:
    train, _, names = class_numbers(split([0, 2, 0], ["ugly", "fair", "beautiful"]), None)
    assert (train.tolist(), names) == ([0, 1, 0], ["ugly", "beautiful"])


def test_both_splits_may_spell_a_label_differently() -> None:
    _, test, _ = class_numbers(split(["0", "1"]), split([1, 0, 1.0]))
    assert test is not None
    assert test.tolist() == [1, 0, 1]
    _, test, _ = class_numbers(split([0, 1], ["neg", "pos"]), split([1, 0]))
    assert test is not None
    assert test.tolist() == [1, 0]


def test_the_test_split_may_lack_a_class() -> None:
    _, test, names = class_numbers(split(["a", "b", "c"]), split(["c", "a"]))
    assert test is not None
    assert test.tolist() == [2, 0]
    assert len(names) == 3


def test_a_label_that_training_never_had_is_named() -> None:
    with pytest.raises(UserError, match=r"row 2 of test.csv has the label 'mixed'.*'neg', 'pos'"):
        class_numbers(split(["pos", "neg"]), split(["pos", "mixed"], name="test.csv"))


@pytest.mark.parametrize(("labels", "names"), [([1, 1], None), (["x", "x "], None), ([1, 1], ["neg", "pos"])])
def test_one_class_only_is_refused(labels: list[object], names: list[str] | None) -> None:
    with pytest.raises(UserError, match=r"train.csv has one class only .* is label_column right"):
        class_numbers(split(labels, names), None)


def test_measurements_are_no_classes() -> None:
    scores: list[object] = [f"{n / 7:.6f}" for n in range(8)]
    with pytest.raises(UserError, match=r"labels of train.csv are numbers such as 0\.142857, not classes"):
        class_numbers(split(scores), None)
    with pytest.raises(UserError, match=r"train.csv has 80 different labels in 80 rows: is label_column right"):
        class_numbers(split(list(range(80))), None)
    # Stars with halves, written as words, and many classes with a few rows each are classes.
    assert len(class_numbers(split(["3.5 stars", "4 stars"]), None)[2]) == 2
    assert len(class_numbers(split([n // 2 for n in range(40)]), None)[2]) == 20


@pytest.mark.parametrize(
    ("labels", "offered"),
    [
        ([str(n) for n in range(80)], "to predict numbers, --model.problem_type regression"),
        ([f"{n}%" for n in range(80)], "to predict numbers, write them plainly: '0%' is none"),
        ([*map(str, range(80)), "n/a"], "to predict numbers, write them plainly: 'n/a' is none"),
        ([f"Title {n}" for n in range(80)], None),
    ],
    ids=["numbers", "shares", "a gap", "titles"],
)
def test_numbers_are_offered_only_where_they_would_be_read(labels: list[object], offered: str | None) -> None:
    with pytest.raises(UserError) as refused:
        class_numbers(split(labels), None)
    line = refused.value.worded(Setting.as_flag)
    which = f"train.csv has {len(labels)} different labels in {len(labels)} rows: is --data.label_column right?"
    assert line.startswith(which)
    assert line.endswith(offered or which)
    if offered is not None and "regression" in offered:
        assert find_task(split(labels), None, "regression")


@pytest.mark.parametrize(("label", "names"), [(0.5, None), ([1], None), (-1, ["neg", "pos"]), (2, ["neg", "pos"])])
def test_what_is_no_class_is_refused(label: object, names: list[str] | None) -> None:
    with pytest.raises(UserError, match=r"row 2 of train.csv has the label .*, which is no class"):
        class_numbers(split([1, label], names), None)


def test_labels_that_are_equal_and_of_several_types_keep_their_own_spelling() -> None:
    train, _, names = class_numbers(split([True, "1", 1.0, False, "true", 1]), None)
    assert names == ["1", "false", "true"]
    assert train.tolist() == [2, 0, 0, 1, 2, 0]


def test_of_many_wrong_labels_the_first_is_named() -> None:
    labels: list[object] = [1.0, 0.0, 1.0, 2.5, 0.0, 3.5, 2.5]
    with pytest.raises(UserError, match=r"row 4 of train.csv has the label 2.5, which is no class"):
        class_numbers(split(labels), None)
