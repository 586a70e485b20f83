"""Converts labels of any spelling to class numbers."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.task.label_values import NUMBER, number_in, spelled, unknown_label, whole
from peft_lightning.task.labelled_rows import LabelledRows

# A fraction has a digit other than 0 after the point: a table with a missing label writes 1 as 1.0.
_FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*(?:[eE][+-]?\d+)?")
# Up to this many different labels are taken as classes whatever the number of rows.
MOST_UNASKED = 10
_WHICH: tuple[Part, ...] = ("is ", Setting("data.label_column"), " right?")
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)(?:\.0*)?")


def class_numbers(
    train: LabelledRows, test: LabelledRows | None, decimals: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, list[str]]:
    """Numbers the classes: whole numbers in numerical order, named labels in their own, words alphabetically.

    Args:
        train: The training split, which decides what classes there are.
        test: The test split, if there is one.
        decimals: Whether decimals are classes too, in numerical order.

    Returns:
        The class numbers of the training rows, those of the test rows, and the names of the classes.

    Raises:
        UserError: If there is only one class, a label is not a class, or the test split has a label that training
            lacks.
    """
    names = train.label_names
    spelled = _spelled(train, names, decimals)
    present = set(spelled)
    number_like = NUMBER if decimals else _WHOLE_NUMBER
    numeric = names is None and all(number_like.fullmatch(label) for label in present)
    if numeric:
        spelled = _canonical(spelled, decimals)
        present = set(spelled)
    if names is not None:
        class_names = [name for name in names if name in present]
    else:
        class_names = sorted(present, key=(float if decimals else int) if numeric else None)
    if len(class_names) < 2:
        raise UserError(
            f"{train.name} has one class only ({class_names[0]!r}): a classifier needs two or more; is ",
            Setting("data.label_column"),
            " right?",
        )
    _refuse_measurements(train.name, class_names, len(spelled), decimals)
    number = {name: i for i, name in enumerate(class_names)}
    train_classes = np.fromiter(map(number.__getitem__, spelled), np.int64, len(spelled))
    if test is None:
        return train_classes, None, class_names

    test_spelled = _spelled(test, test.label_names or names, decimals)
    if numeric:
        test_spelled = _canonical(test_spelled, decimals)
    for row, label in enumerate(test_spelled):
        if label not in number:
            raise unknown_label(test.name, row, label, class_names)
    return train_classes, np.array([number[label] for label in test_spelled], dtype=np.int64), class_names


def _refuse_measurements(source: str, class_names: Sequence[str], rows: int, decimals: bool) -> None:
    """Refuses labels that are not classes: numbers with decimals, or different labels for most rows."""
    cut = " A score becomes a class when it is cut in two, or rounded; to predict numbers, "
    as_numbers: tuple[Part, ...] = (cut, Setting("model.problem_type", "regression"))
    no_numbers = [name for name in class_names if number_in(name) is None]
    fraction = next((name for name in class_names if _FRACTION.fullmatch(name)), None)
    if not decimals and fraction is not None and not no_numbers:
        raise UserError(f"the labels of {source} are numbers such as {fraction}, not classes: ", *_WHICH, *as_numbers)
    if len(class_names) > MOST_UNASKED and 2 * len(class_names) > rows:
        if no_numbers:
            # 41% and 4/5 are meant for numbers, n/a stands among them; titles are not.
            meant = no_numbers[0][:1].isdigit() or 2 * len(no_numbers) < len(class_names)
            as_numbers = (f"{cut}write them plainly: {no_numbers[0]!r} is none",) if meant else ()
        raise UserError(f"{source} has {len(class_names):,} different labels in {rows:,} rows: ", *_WHICH, *as_numbers)


def _spelled(split: LabelledRows, names: Sequence[str] | None, decimals: bool) -> list[str]:
    # Labels come again and again: each is spelled once. True is not 1, nor 1.0, though they are equal.
    kinds = set(map(type, split.labels))
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        spelled: dict[object, str] = {}
        for label in dict.fromkeys(split.labels):
            # Distinct labels come in the order of their first rows, so the first wrong row is named.
            spelled[label] = _spelling(label, split.labels.index(label), split.name, names, decimals)
        return list(map(spelled.__getitem__, split.labels))
    return [_spelling(label, row, split.name, names, decimals) for row, label in enumerate(split.labels)]


def _spelling(label: object, row: int, split_name: str, names: Sequence[str] | None, decimals: bool) -> str:
    label = whole(label)
    word = spelled(label, names)
    if word is not None:
        return word
    if decimals and isinstance(label, float) and math.isfinite(label):
        return str(label)
    raise UserError(
        f"row {row + 1} of {split_name} has the label {label!r}, which is no class: "
        "labels are whole numbers, words or true and false"
    )


def _canonical(labels: Sequence[str], decimals: bool) -> list[str]:
    """Writes whole numbers alike, and decimals; other labels, which the test split may have, stay."""
    matches = {label: _WHOLE_NUMBER.fullmatch(label) for label in set(labels)}
    written = {label: str(int(match[1])) if match else label for label, match in matches.items()}
    if decimals:
        written |= {label: f"{float(label):.12g}" for label in written if NUMBER.fullmatch(label)}
    return [written[label] for label in labels]
