"""Which files and sources quotation marks mean something in: CSV and TSV."""

from collections.abc import Iterable
from pathlib import Path

from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.table_columns import DELIMITERS, table_suffix
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.given_paths import given_path

# Splits lie so deep at most, as CONFIGURATION/SPLIT/FILE. ``**`` finds what a README names; it follows no links.
_DEPTHS = ("*", "*/*", "*/*/*", "**/*")


def require_quoted_format(quoting: Quoting, places: Iterable[str | None], elsewhere: Iterable[str] = ()) -> None:
    """Refuses a word on quotation marks where nothing that is read has any.

    Args:
        quoting: What the user says of them; ``auto`` says nothing.
        places: Files and folders that a command may read; None for one that is not named.
        elsewhere: Names of sources that are no paths.

    Raises:
        UserError: If it says something, and no place is a CSV, a TSV, or a folder with one.
    """
    named = [place for place in places if place is not None]
    if quoting == "auto" or any(map(_may_be_quoted, named)):
        return
    raise UserError(
        f"quoting {quoting!r} is for CSV and TSV, and there is none in {' or '.join([*elsewhere, *named])}: leave out ",
        Setting("data.quoting"),
    )


def _may_be_quoted(place: str) -> bool:
    path = given_path(place)
    if not path.exists():
        return True  # that it is not there is said where it is read
    if path.is_dir():
        return any(_is_quoted(file) for depth in _DEPTHS for file in path.glob(depth))
    return _is_quoted(path)


def _is_quoted(file: Path) -> bool:
    return (table_suffix(file) or "").removesuffix(".gz") in DELIMITERS
