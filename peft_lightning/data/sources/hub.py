"""Reads labelled text with ``datasets``: from the Hugging Face hub, or a folder that ``save_to_disk`` wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from peft_lightning.data.sources.checked_rows import PairColumns
from peft_lightning.data.sources.columns import values_of
from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.splits import TRAIN, Splits, Unlabelled, label_columns, labelled_split
from peft_lightning.data.sources.table_columns import checked_encoding
from peft_lightning.data.sources.tables import side_by_side
from peft_lightning.errors import Placeholder, Setting, UserError

_ALIASES = {"imdb": "stanfordnlp/imdb"}
_CONFIGURATIONS = {"stanfordnlp/imdb": "plain_text"}
# What `datasets` once had without an owner. Papers and model cards still write NAME/CONFIGURATION.
_FORMER_NAMES = {"glue": "nyu-mll/glue", "tweet_eval": "cardiffnlp/tweet_eval"}
# What `datasets` says of a missing or unknown configuration, online and from its cache, with a list of those there are.
_OF_CONFIGURATIONS = re.compile(r"(?:available configs: |Available: |configs in the cache: )\[(.*?)\]", re.IGNORECASE)


def read_hub(
    source: str,
    text_column: str,
    label_column: str | Sequence[str],
    configuration: str | None = None,
    text_pair_column: str | None = None,
) -> Splits:
    """Finds the splits of a dataset on the hub, or in the local cache if it has been downloaded before.

    Args:
        source: ``imdb``, the Large Movie Review Dataset v1.0 (Maas et al. 2011), a dataset as ``owner/name``, or one of
            a few former names with its configuration, ``glue/cola`` and ``tweet_eval/sentiment``.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels, or of several.
        configuration: The dataset's configuration, such as ``sst2`` of GLUE.
        text_pair_column: Name of the column of second texts; None for single texts.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset or configuration.
    """
    name = name_on_hub(source)
    columns = _Columns(text_column, label_columns(label_column), text_pair_column)
    return _splits(f"{name} on the hub", name, download(source, configuration), columns)


def name_on_hub(source: str) -> str:
    """Returns the hub's ``owner/name`` of a dataset, which ``imdb`` and ``glue/cola`` are short for.

    Args:
        source: As in ``read_hub``.
    """
    return _FORMER_NAMES[source.partition("/")[0]] if is_former_name(source) else _ALIASES.get(source, source)


def is_former_name(source: str) -> bool:
    """Tells whether a source is the name of a dataset from before names on the hub had owners."""
    return source.count("/") <= 1 and source.partition("/")[0] in _FORMER_NAMES


def _configuration_in(source: str, asked: str | None) -> str | None:
    """Returns the configuration that a former name or the user names."""
    former, _, named = source.partition("/")
    if not is_former_name(source) or not named:
        return asked
    if asked not in (None, named):
        raise UserError(
            f"{source} is the configuration {named} of {_FORMER_NAMES[former]}, and {asked} is another: leave out ",
            Setting("data.configuration"),
        )
    return named


@dataclass(frozen=True)
class _Columns:
    text: str
    labels: list[str]
    pair: str | None


def read_saved(
    folder: Path, text_column: str, label_column: str | Sequence[str], text_pair_column: str | None = None
) -> Splits:
    """Finds the splits of a folder that ``save_to_disk`` wrote, of a ``Dataset`` or a ``DatasetDict``.

    Args:
        folder: The folder.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels, or of several.
        text_pair_column: Name of the column of second texts; None for single texts.

    Raises:
        UserError: If it cannot be read.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    # As below: errors of many families.
    except Exception as error:
        raise UserError(f"cannot read {folder} ({_reason(error)}): save it again with save_to_disk") from error
    by_name = saved if isinstance(saved, datasets.DatasetDict) else {TRAIN: saved}
    columns = _Columns(text_column, label_columns(label_column), text_pair_column)
    return _splits(str(folder), str(folder), by_name, columns)


def is_saved(folder: Path) -> bool:
    """Tells whether ``save_to_disk`` wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    )


def configured_files(folder: Path, configuration: str | None) -> dict[str, list[Path]] | None:
    """Finds the files of a local copy of a dataset's repository, whose README says which split is in which file.

    Args:
        folder: The folder.
        configuration: The dataset's configuration.

    Returns:
        The files of each split, by its name; None if ``datasets`` finds none.

    Raises:
        UserError: If the dataset has configurations, and that is none of them.
    """
    import datasets

    try:
        config = datasets.load_dataset_builder(str(folder), configuration).config
    except Exception as error:
        _refuse_configuration(str(folder), configuration, error)
        return None
    return {str(split): [Path(file) for file in files] for split, files in (config.data_files or {}).items()}


def download(source: str, configuration: str | None = None) -> Any:
    """Downloads a dataset into the local cache of ``datasets``, unless it is there already.

    Args:
        source: As in ``read_hub``.
        configuration: The dataset's configuration; None for its only one.

    Returns:
        The splits by name, a ``datasets.DatasetDict``.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset or configuration.
    """
    import datasets

    name, configuration = name_on_hub(source), _configuration_in(source, configuration)
    try:
        return datasets.load_dataset(name, configuration or _CONFIGURATIONS.get(name))
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(
            f"{source} is neither a local path nor a dataset on the Hugging Face hub: check its spelling, which is"
            " OWNER/NAME; a configuration is named with ",
            Setting("data.configuration"),
        ) from error
    # The libraries below raise errors of many families (network, HTTP, cache, format) without a common base class.
    except Exception as error:
        _refuse_configuration(f"{name} on the hub", configuration, error)
        raise UserError(
            f"{source} is no local path, and cannot be loaded from the Hugging Face hub ({_reason(error)}): without a"
            " network add ",
            Setting("data.source", "embedded", overlay="configs/offline.yaml"),
            " or name a local folder with ",
            Setting("data.source", Placeholder("DIR")),
        ) from error


def _refuse_configuration(place: str, configuration: str | None, error: Exception) -> None:
    found = _OF_CONFIGURATIONS.search(str(error)) if isinstance(error, ValueError) else None
    if found is None:
        return
    fault = "needs a configuration" if configuration is None else f"has no configuration {configuration!r}"
    raise UserError(
        f"{place} {fault} (it has {found[1].replace(chr(39), '')}): name one with ", Setting("data.configuration")
    ) from error


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0][:150]


def _splits(place: str, name: str, by_name: Any, columns: _Columns) -> Splits:
    readers = {str(split): partial(_read_split, f"{name} ({split})", by_name[split], columns) for split in by_name}
    return Splits(place, readers)


def _read_split(name: str, split: Any, asked: _Columns) -> RawSplit:
    import datasets

    names = {asked.text: "text_column"} | ({} if asked.pair is None else {asked.pair: "text_pair_column"})
    names |= dict.fromkeys(asked.labels, "label_column")
    for column, setting in names.items():
        if column not in split.column_names:
            present = ", ".join(map(repr, split.column_names))
            kind = Unlabelled if setting == "label_column" else UserError
            raise kind(f"{name} has no column {column!r} (it has {present}): name it with ", Setting(f"data.{setting}"))
    feature = split.features[asked.labels[0]]
    # A list of labels has their names within.
    feature = getattr(feature, "feature", feature)
    several = len(asked.labels) > 1
    table = split.select_columns(list(names)).with_format("arrow")[:]
    columns = {column: checked_encoding(name, table.column(column)) for column in names}
    return labelled_split(
        name,
        columns[asked.text],
        side_by_side([columns[column] for column in asked.labels]) if several else values_of(columns[asked.labels[0]]),
        label_names=feature.names if isinstance(feature, datasets.ClassLabel) and not several else None,
        pairs=None if asked.pair is None else PairColumns(asked.text, asked.pair, columns[asked.pair]),
        columns=tuple(asked.labels) if several else (),
    )
