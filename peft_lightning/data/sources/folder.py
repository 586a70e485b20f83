"""Reads a folder of labelled text: one file per review in class folders, or one table per split."""

from pathlib import Path

from peft_lightning.data.sources.corpus import RawSplit, checked_split
from peft_lightning.data.sources.tables import TABLE_SUFFIXES, read_table
from peft_lightning.data.sources.text_files import read_utf8
from peft_lightning.errors import Setting, UserError

# The reviews without a label that the Large Movie Review Dataset keeps beside pos and neg.
_UNLABELLED = "unsup"


def read_folder(folder: Path, text_column: str, label_column: str) -> tuple[RawSplit, RawSplit | None]:
    """Reads a folder in the layout of aclImdb (Maas et al. 2011), or one with ``train.*`` and ``test.*`` tables.

    Args:
        folder: A folder with ``train/CLASS/*.txt`` and ``test/CLASS/*.txt``, or with ``train`` and ``test`` files that
            ``read_table`` reads.
        text_column: Name of the column of texts in a table.
        label_column: Name of the column of labels in a table.

    Returns:
        The training split, and the test split if there is one.

    Raises:
        UserError: If the folder has neither layout, or a file in it cannot be read.
    """
    if _class_folders(folder / "train"):
        test = folder / "test"
        return _read_class_folders(folder / "train"), _read_class_folders(test) if test.is_dir() else None
    train_table = _table(folder, "train")
    if train_table is None:
        raise UserError(
            f"{folder} has neither train/CLASS/*.txt nor a train file ({', '.join(TABLE_SUFFIXES)}): "
            "name the folder that holds one of them"
        )
    test_table = _table(folder, "test")
    return (
        read_table(train_table, text_column, label_column),
        read_table(test_table, text_column, label_column) if test_table else None,
    )


def _table(folder: Path, split: str) -> Path | None:
    found = [path for suffix in TABLE_SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise UserError(
            f"{folder} has {' and '.join(path.name for path in found)}: keep one of them, or name a file with ",
            Setting("data.source"),
        )
    return found[0] if found else None


def _class_folders(split: Path) -> list[Path]:
    if not split.is_dir():
        return []
    return sorted(
        path
        for path in split.iterdir()
        if path.is_dir() and path.name != _UNLABELLED and next(path.glob("*.txt"), None)
    )


def _read_class_folders(split: Path) -> RawSplit:
    files = [file for folder in _class_folders(split) for file in sorted(folder.glob("*.txt"))]
    return checked_split(
        str(split),
        [read_utf8(file) for file in files],
        [file.parent.name for file in files],
        row_name=lambda position: str(files[position]),
    )
