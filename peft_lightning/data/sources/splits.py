"""The splits of a source, and which of them serve for training, validation and testing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from peft_lightning.data.sources.checked_rows import PairColumns, checked_split
from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN: Literal["train"] = "train"
TEST: Literal["test"] = "test"
VALIDATION_NAMES = ("validation", "val", "valid", "dev")


class Unlabelled(UserError):
    """A split has no labels, as the test split of a benchmark that scores answers itself."""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read, if not by itself; the data module's arguments say what each means."""

    configuration: str | None = None
    train_split: str | None = None
    val_split: str | None = None
    test_split: str | None = None
    quoting: Quoting = "auto"
    text_pair_column: str | None = None
    problem_type: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "SourceOptions":
        """Takes the options from a run's settings of its data; what an older run does not state has its default.

        Args:
            settings: The data module's arguments by name; others are ignored.
        """
        return cls(**{option.name: settings[option.name] for option in fields(cls) if option.name in settings})


@dataclass(frozen=True)
class Splits:
    """The splits that a source has, each read when it is asked for.

    Args:
        place: Name of the source in error messages.
        readers: What reads each split, by its name.
    """

    place: str
    readers: Mapping[str, Callable[[], RawSplit]]

    @property
    def listed(self) -> str:
        """The names of the splits."""
        return ", ".join(self.readers)


@dataclass(frozen=True)
class Chosen:
    """The splits of a source by their use.

    Args:
        train: The split to train on.
        val: The split to validate on; None if validation rows are drawn from ``train``.
        test: The split to test on; None if test rows are held out from ``train``.
        val_name: Name of the validation split.
        test_name: Name of the test split.
        notes: What a user would not expect of the choice.
    """

    train: RawSplit
    val: RawSplit | None
    test: RawSplit | None
    val_name: str | None
    test_name: str | None
    notes: tuple[str, ...]


def choose_splits(splits: Splits, options: SourceOptions) -> Chosen:
    """Chooses and reads the splits to train, validate and test on.

    The test split is ``test``. If there is none, or it has no labels (those of GLUE are all -1), the validation split
    serves in its place, and validation rows are drawn from the training split.

    Args:
        splits: The splits of the source.
        options: Names of splits that the user asks for. The training split's name in place of another's draws its rows
            from the training split.

    Raises:
        UserError: If there is no such split, or the split to test on has no labels.
    """
    train_name = options.train_split or TRAIN
    for use, name in (("train", train_name), ("val", options.val_split), ("test", options.test_split)):
        if name is not None and name not in splits.readers:
            raise UserError(
                f"{splits.place} has no split {name!r} (it has {splits.listed}): name another with ",
                Setting(f"data.{use}_split"),
            )
    if options.test_split is not None and options.test_split == options.val_split != train_name:
        raise UserError(
            f"{options.test_split!r} cannot be both validation and test: name another split with ",
            Setting("data.val_split"),
        )
    train = splits.readers[train_name]()
    val_name = options.val_split or _own_validation(splits, (train_name, options.test_split))
    test_name = options.test_split or (TEST if TEST in splits.readers and TEST not in (train_name, val_name) else None)
    notes: list[str] = []
    test = None if test_name in (None, train_name) else _labelled(splits, test_name, train)
    spare = val_name if options.val_split is None else None
    if isinstance(test, Unlabelled):
        if options.test_split is not None or spare is None:
            raise _nothing_to_test_on(splits, str(test_name), train_name) from test
        notes.append(f"the split {test_name} has no labels")
        test = None
    if test is None and options.test_split is None and spare is not None:
        test = _labelled(splits, spare, train)
        if isinstance(test, Unlabelled):
            if test_name is not None:
                raise _nothing_to_test_on(splits, str(test_name), train_name) from test
            test = None
        else:
            test_name, val_name = spare, None
            notes.append(f"tested on the split {spare}")
    val = None if val_name in (None, train_name) else _labelled(splits, val_name, train)
    if isinstance(val, Unlabelled):
        if options.val_split is not None:
            raise val
        notes.append(f"the split {val_name} has no labels")
        val = None
    if val is not None:
        notes.append(f"validated on the split {val_name}")
    unused = [name for name in splits.readers if name not in (train_name, val_name, test_name)]
    if test is None and options.test_split is None and unused:
        notes.append(f"tested on a fifth of the split {train_name}; not used: {', '.join(unused)}")
    return Chosen(
        train, val, test, None if val is None else val_name, None if test is None else test_name, tuple(notes)
    )


def labelled_split(
    name: str,
    texts: "Sequence[object] | pa.ChunkedArray",
    labels: Sequence[object],
    row_name: Callable[[int], str] | None = None,
    label_names: list[str] | None = None,
    pairs: PairColumns | None = None,
    columns: tuple[str, ...] = (),
) -> RawSplit:
    """Makes a split as ``checked_split`` does; tells one without any label from one that lacks some.

    Raises:
        Unlabelled: If no row has a label.
        UserError: If a text or a label is missing, or there are no rows.
    """
    if len(labels) and all(map(_says_nothing, labels)):
        raise Unlabelled(f"{name} has no labels: is ", Setting("data.label_column"), " right?")
    return checked_split(name, texts, labels, row_name, label_names, pairs, columns)


def _says_nothing(label: object) -> bool:
    if isinstance(label, tuple):
        return all(map(_says_nothing, label))
    return label is None or label != label or label == ""


def label_columns(label_column: str | Sequence[str]) -> list[str]:
    """Returns the names of the label columns.

    Args:
        label_column: One name, or several.
    """
    return [label_column] if isinstance(label_column, str) else list(label_column)


def _own_validation(splits: Splits, taken: Sequence[str | None]) -> str | None:
    found = [name for name in VALIDATION_NAMES if name in splits.readers and name not in taken]
    if len(found) > 1:
        raise UserError(
            f"{splits.place} has the splits {' and '.join(found)}: say which one validates with ",
            Setting("data.val_split", found[0]),
        )
    return found[0] if found else None


def _labelled(splits: Splits, name: str | None, train: RawSplit) -> RawSplit | Unlabelled:
    """Reads a split; returns an error instead if it has no labels."""
    try:
        split = splits.readers[str(name)]()
    except Unlabelled as error:
        return error
    if _all_minus_one(split.labels) and (train.label_names is not None or not any(map(_is_minus_one, train.labels))):
        return Unlabelled(
            f"the labels of {split.name} are all -1, so it has none: name another split with ",
            Setting("data.val_split"),
        )
    return split


def _nothing_to_test_on(splits: Splits, name: str, train_name: str) -> UserError:
    others = [other for other in splits.readers if other not in (name, train_name)]
    return UserError(
        f"the split {name} of {splits.place} has no labels to test against: name a labelled split"
        f"{_in_brackets(others)} with ",
        Setting("data.test_split"),
        ", or hold out a fifth of the training rows with ",
        Setting("data.test_split", train_name),
    )


def _all_minus_one(labels: Sequence[object]) -> bool:
    return all(map(_is_minus_one, labels))


def _is_minus_one(label: object) -> bool:
    if isinstance(label, tuple):
        return _all_minus_one(label)
    return label == -1 or (isinstance(label, str) and label.strip() in ("-1", "-1.0"))


def _in_brackets(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
