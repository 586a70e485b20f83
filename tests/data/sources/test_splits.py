from typing import Any

import pytest

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.splits import Chosen, SourceOptions, Splits, choose_splits, labelled_split
from peft_lightning.errors import Setting, UserError


def source(**labels: list[object]) -> Splits:
    """A source with splits of these labels; what is asked of a split reads it."""

    def reader(name: str) -> Any:
        return lambda: labelled_split(
            f"DIR/{name}.csv", [f"{name} {n}" for n in range(len(labels[name]))], labels[name]
        )

    return Splits("DIR", {name: reader(name) for name in labels})


def uses(chosen: Chosen) -> tuple[str, str | None, str | None]:
    def name(split: RawSplit | None) -> str | None:
        return None if split is None else split.name[4:-4]

    return str(name(chosen.train)), name(chosen.val), name(chosen.test)


LABELLED: list[object] = [0, 1]
NONE: list[object] = [-1, -1]


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev"])
def test_a_validation_split_validates_where_a_test_split_tests(name: str) -> None:
    chosen = choose_splits(source(train=LABELLED, test=LABELLED, **{name: LABELLED}), SourceOptions())
    assert uses(chosen) == ("train", name, "test")
    assert (chosen.val_name, chosen.test_name) == (name, "test")
    assert chosen.notes == (f"validated on the split {name}",)


def test_without_a_test_split_the_validation_split_tests() -> None:
    chosen = choose_splits(source(train=LABELLED, validation=LABELLED), SourceOptions())
    assert uses(chosen) == ("train", None, "validation")
    assert chosen.notes == ("tested on the split validation",)


def test_of_train_and_test_alone_nothing_is_said() -> None:
    chosen = choose_splits(source(train=LABELLED, test=LABELLED, unsupervised=NONE), SourceOptions())
    assert (uses(chosen), chosen.notes) == (("train", None, "test"), ())
    alone = choose_splits(source(train=LABELLED), SourceOptions())
    assert (uses(alone), alone.notes) == (("train", None, None), ())


def test_splits_of_other_names_are_not_passed_over_in_silence() -> None:
    chosen = choose_splits(source(train=LABELLED, validation_matched=LABELLED), SourceOptions())
    assert uses(chosen) == ("train", None, None)
    assert chosen.notes == ("tested on a fifth of the split train; not used: validation_matched",)


@pytest.mark.parametrize("labels", [NONE, ["-1", "-1"], [-1.0, -1.0], [None, None], ["", ""]])
def test_a_test_split_without_labels_gives_way_to_validation(labels: list[object]) -> None:
    chosen = choose_splits(source(train=LABELLED, validation=LABELLED, test=labels), SourceOptions())
    assert uses(chosen) == ("train", None, "validation")
    assert chosen.notes == ("the split test has no labels", "tested on the split validation")


@pytest.mark.parametrize("others", [{}, {"validation": NONE}])
def test_without_another_split_the_line_says_how_to_go_on(others: dict[str, list[object]]) -> None:
    with pytest.raises(UserError, match="the split test of DIR has no labels to test against") as refused:
        choose_splits(source(train=LABELLED, test=NONE, **others), SourceOptions())
    assert refused.value.worded(Setting.as_flag).endswith("fifth of the training rows with --data.test_split train")


def test_minus_one_may_be_a_class() -> None:
    chosen = choose_splits(source(train=[-1, 1], test=NONE), SourceOptions())
    assert uses(chosen) == ("train", None, "test")


def test_an_unlabelled_validation_split_is_passed_over_with_a_word() -> None:
    chosen = choose_splits(source(train=LABELLED, validation=NONE, test=LABELLED), SourceOptions())
    assert uses(chosen) == ("train", None, "test")
    assert chosen.notes == ("the split validation has no labels",)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"train_split": "a", "val_split": "b", "test_split": "c"}, ("a", "b", "c")),
        ({"val_split": "test"}, ("train", "test", None)),
        ({"test_split": "train"}, ("train", "validation", None)),
        ({"val_split": "train"}, ("train", None, "test")),
        ({"val_split": "validation", "test_split": "c"}, ("train", "validation", "c")),
        ({"test_split": "validation"}, ("train", None, "validation")),
        ({"train_split": "validation"}, ("validation", None, "test")),
    ],
)
def test_splits_are_set_by_name(asked: dict[str, str], expected: tuple[str, str | None, str | None]) -> None:
    splits = source(**dict.fromkeys(("train", "validation", "test", "a", "b", "c"), LABELLED))
    assert uses(choose_splits(splits, SourceOptions(**asked))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"train_split": "training"}, "DIR has no split 'training' .it has train, dev, val, test.: .* train_split"),
        ({"val_split": "validation"}, "DIR has no split 'validation' .* val_split"),
        ({"test_split": "tset"}, "DIR has no split 'tset' .* test_split"),
        ({}, "DIR has the splits val and dev: say which one validates with val_split='val'"),
        ({"val_split": "test", "test_split": "test"}, "'test' cannot be both validation and test"),
    ],
)
def test_names_that_cannot_be_used(asked: dict[str, str], message: str) -> None:
    splits = source(**dict.fromkeys(("train", "dev", "val", "test"), LABELLED))
    with pytest.raises(UserError, match=message):
        choose_splits(splits, SourceOptions(**asked))  # type: ignore[arg-type]


def test_an_unlabelled_split_that_was_asked_for_is_refused() -> None:
    splits = source(train=LABELLED, validation=NONE, test=LABELLED)
    with pytest.raises(UserError, match=r"the labels of DIR/validation.csv are all -1, so it has none"):
        choose_splits(splits, SourceOptions(val_split="validation"))
    with pytest.raises(UserError, match=r"the split validation of DIR has no labels .* split \(test\) with test_split"):
        choose_splits(splits, SourceOptions(test_split="validation"))


def test_options_of_an_older_run_are_the_defaults() -> None:
    assert SourceOptions.of({"source": "x", "n_train": 3}) == SourceOptions()
    assert SourceOptions.of({"quoting": "none", "test_split": "c"}) == SourceOptions(quoting="none", test_split="c")
