"""Which settings of the data can be used: numbers with a least value, names, columns, and what goes with windows."""

from collections.abc import Mapping, Sequence
from typing import Any

from peft_lightning.data.review_tokeniser import no_pairs_in_windows
from peft_lightning.data.sources.splits import label_columns
from peft_lightning.errors import Setting, UserError

_LEAST = {
    "n_train": 1,
    "n_val": 1,
    "n_test": 1,
    "seed": 0,
    "max_length": 8,
    "batch_size": 1,
    "eval_batch_size": 1,
    "num_workers": 0,
    "pad_to_multiple_of": 1,
    "window_stride": 0,
}


def require_least(settings: Mapping[str, Any]) -> None:
    """Refuses a number that is too small.

    Args:
        settings: All settings of the data by name; numbers that are not set are None.

    Raises:
        UserError: If one is too small.
    """
    for name, least in _LEAST.items():
        value = settings[name]
        if value is not None and value < least:
            raise UserError(f"{name} {value} is too small: ", Setting(f"data.{name}"), f" takes {least} or more")


def require_utf8(names: Mapping[str, str | None]) -> None:
    """Refuses a name that no record could hold.

    Args:
        names: Settings that name files or folders, by their own names.

    Raises:
        UserError: If one is not UTF-8.
    """
    for name, word in names.items():
        try:
            (word or "").encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{name} {word!r} is not UTF-8, and no record could name it: rename it") from error


def require_windows(truncation: str, window_stride: int | None, in_pairs: bool) -> None:
    """Refuses a stride without windows, and windows of pairs.

    Args:
        truncation: What stays of a longer text.
        window_stride: Tokens that two neighbouring windows share, if it is set.
        in_pairs: Whether texts come in pairs.

    Raises:
        UserError: If they do not go together.
    """
    if window_stride is not None and truncation != "windows":
        raise UserError(
            "window_stride is for texts that are read in windows: leave it out, or say ",
            Setting("data.truncation", "windows"),
        )
    if truncation == "windows" and in_pairs:
        raise no_pairs_in_windows()


def require_columns_apart(text: str, text_pair: str | None, label: str | Sequence[str]) -> None:
    """Refuses a column that is named twice, and an empty list of label columns.

    Args:
        text: Column of the texts.
        text_pair: Column of second texts, if there is one.
        label: Column of the labels, or several.

    Raises:
        UserError: If two of them are the same, or none holds labels.
    """
    if label == []:
        raise UserError("label_column is an empty list: name a column with ", Setting("data.label_column"))
    columns = [("text_column", text), *(("label_column", name) for name in label_columns(label))]
    if text_pair is not None:
        columns.insert(1, ("text_pair_column", text_pair))
    for place, (setting, name) in enumerate(columns):
        twice = next((other for other, same in columns[:place] if same == name), None)
        if twice is not None:
            what = f"{twice} and {setting} are both" if twice != setting else f"{setting} twice has"
            raise UserError(f"{what} {name!r}: name two columns")
