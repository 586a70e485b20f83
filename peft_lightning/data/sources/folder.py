"""Finds the splits of a folder: class folders of text files, tables whole or in shards, or a saved dataset."""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.hub import configured_files, is_saved, read_saved
from peft_lightning.data.sources.splits import (
    TEST,
    TRAIN,
    VALIDATION_NAMES,
    SourceOptions,
    Splits,
    labelled_split,
)
from peft_lightning.data.sources.table_columns import TABLE_SUFFIXES, table_suffix
from peft_lightning.data.sources.tables import read_table
from peft_lightning.data.sources.text_files import read_utf8
from peft_lightning.errors import Setting, UserError

# The reviews without a label that the Large Movie Review Dataset keeps beside pos and neg.
_UNLABELLED = "unsup"
# The names that `datasets` gives the files of a split: train-00000-of-00002, older ones with a hash behind.
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?")


def read_folder(
    folder: Path, text_column: str, label_column: str | Sequence[str], options: SourceOptions | None = None
) -> Splits:
    """Finds the splits of a folder.

    Args:
        folder: A folder like aclImdb (Maas et al. 2011), with ``train/CLASS/*.txt`` and ``test/CLASS/*.txt``; one with
            a file per split that ``read_table`` reads; one with sharded files, or the repository of a dataset that
            holds them in ``data/``; or one that ``save_to_disk`` wrote.
        text_column: Name of the column of texts in a table.
        label_column: Name of the column of labels in a table, or of several.
        options: The configuration, the names of the splits, and how tables are read.

    Raises:
        UserError: If the folder has none of these layouts or no such configuration, or a file in it cannot be read.
    """
    options = options or SourceOptions()
    if is_saved(folder):
        if options.configuration is not None:
            raise UserError(f"{folder} is one saved dataset without configurations: leave out ", _CONFIGURATION)
        return read_saved(folder, text_column, label_column, options.text_pair_column)
    names = {TRAIN, TEST, *VALIDATION_NAMES, options.train_split, options.val_split, options.test_split}
    place, files, by_name = _find(folder, options, {name for name in names if name is not None})

    def read(name: str) -> RawSplit:
        shards = _whole(place, name, files[name], by_name)
        whole = None if len(shards) == 1 else f"{place} ({name})"
        return read_table(shards, text_column, label_column, options.quoting, whole, options.text_pair_column)

    tables = {name: partial(read, name) for name in files}
    classes = {name: partial(_read_class_folders, place / name, options) for name in _splits_of_class_folders(place)}
    if (options.train_split or TRAIN) not in {**tables, **classes} and options.train_split is None:
        raise UserError(
            f"{folder} has neither train/CLASS/*.txt nor a train file ({', '.join(TABLE_SUFFIXES)}): "
            "name the folder that holds one of them"
            + (f", or one of its splits ({', '.join({**tables, **classes})}) with " if tables or classes else ""),
            *([Setting("data.train_split")] if tables or classes else []),
        )
    return Splits(str(folder), {**tables, **classes})


_CONFIGURATION = Setting("data.configuration")


def _find(folder: Path, options: SourceOptions, names: set[str]) -> tuple[Path, dict[str, list[Path]], bool]:
    """Finds where the splits of a configuration are, the tables of each, and whether their names alone tell so."""
    train, described = options.train_split or TRAIN, (folder / "README.md").is_file()
    if options.configuration is None:
        for place in (folder, folder / "data"):
            files = _tables(place, names)
            if train in files or train in _splits_of_class_folders(place):
                return place, files, True
        found = configured_files(folder, None) if described else None
        if found:
            return folder, found, False
        _refuse_configurations(folder, options, names)
        return folder, _tables(folder, names), True
    found = configured_files(folder, options.configuration) if described else None
    if found:
        return folder, found, False
    place = folder / options.configuration
    if options.configuration in _configurations(folder, train, names):
        return place, _tables(place, names), True
    _refuse_configurations(folder, options, names)
    raise UserError(f"{folder} has no configurations: leave out ", _CONFIGURATION)


def _configurations(folder: Path, train: str, names: set[str]) -> list[str]:
    """Finds the folders within a folder that hold splits each."""
    return sorted(
        place.name
        for place in folder.iterdir()
        if place.is_dir() and (train in _tables(place, names) or train in _splits_of_class_folders(place))
    )


def _refuse_configurations(folder: Path, options: SourceOptions, names: set[str]) -> None:
    found = _configurations(folder, options.train_split or TRAIN, names)
    if found:
        asked = options.configuration
        fault = "needs a configuration" if asked is None else f"has no configuration {asked!r}"
        raise UserError(f"{folder} {fault} (it has {', '.join(found)}): name one with ", _CONFIGURATION)


def _tables(folder: Path, names: Iterable[str]) -> dict[str, list[Path]]:
    """Finds a folder's tables by split: ``train.csv``, the shards of ``train``, or the files in ``train/``."""
    if not folder.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and (suffix := table_suffix(path)):
            stem = path.name[: -len(suffix)]
            shard = _SHARD.fullmatch(stem)
            found.setdefault(shard["split"] if shard else stem, []).append(path)
    for name in names:
        inner = folder / name
        if name not in found and inner.is_dir() and (files := [p for p in sorted(inner.iterdir()) if table_suffix(p)]):
            found[name] = files
    return found


def _whole(folder: Path, split: str, files: list[Path], by_name: bool) -> list[Path]:
    """Checks that a split is one file, or as many shards as their names say; a README may list any files."""
    shards = [_SHARD.fullmatch(path.name[: -len(table_suffix(path) or "")]) for path in files]
    counts = {int(shard["count"]) if shard else 1 for shard in shards}
    if shards and None not in shards and len(counts) == 1:
        numbers = [int(shard["number"]) for shard in shards if shard]
        lacking = sorted(set(range(counts.pop())) - set(numbers))
        if lacking:
            raise UserError(
                f"{folder} has no shard {lacking[0]:05} of {files[0].name}: the split {split} is not whole, so copy it"
                " again"
            )
        if len(numbers) == len(set(numbers)):
            return files
    if by_name and len(files) > 1 and any(path.parent.name != split or _SHARD.fullmatch(path.stem) for path in files):
        raise UserError(
            f"{folder} has {' and '.join(path.name for path in files)}: keep one of them, or name a file with ",
            Setting("data.source"),
        )
    return files


def _class_folders(split: Path) -> list[Path]:
    if not split.is_dir():
        return []
    return sorted(
        path
        for path in split.iterdir()
        if path.is_dir() and path.name != _UNLABELLED and next(path.glob("*.txt"), None)
    )


def _splits_of_class_folders(folder: Path) -> list[str]:
    """Finds the folders of class folders; a ``test`` folder without any is one, whose reader says so."""
    if not folder.is_dir():
        return []
    found = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and _class_folders(path)]
    empty = TRAIN in found and TEST not in found and (folder / TEST).is_dir()
    return [*found, TEST] if empty and not _tables(folder, [TEST]).get(TEST) else found


def _read_class_folders(split: Path, options: SourceOptions) -> RawSplit:
    if options.text_pair_column is not None:
        raise UserError(f"{split} holds single texts, no pairs: leave out ", Setting("data.text_pair_column"))
    files = [file for folder in _class_folders(split) for file in sorted(folder.glob("*.txt"))]
    return labelled_split(
        str(split),
        [read_utf8(file) for file in files],
        [_encodable(file.parent) for file in files],
        row_name=lambda position: str(files[position]),
    )


def _encodable(folder: Path) -> str:
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the name of the class folder {str(folder)!r} is not UTF-8: rename it") from error
    return folder.name
