"""Reads labelled text from the Hugging Face hub."""

from typing import Any

from peft_lightning.data.sources.corpus import RawSplit, checked_split
from peft_lightning.errors import Placeholder, Setting, UserError

_ALIASES = {"imdb": "stanfordnlp/imdb"}
_CONFIGURATIONS = {"stanfordnlp/imdb": "plain_text"}
# The splits of a hub dataset that may serve as the test split, in this order.
_TEST_SPLITS = ("test", "validation")


def read_hub(source: str, text_column: str, label_column: str) -> tuple[RawSplit, RawSplit | None]:
    """Reads a dataset from the hub, or from the local cache if it has been downloaded before.

    Args:
        source: ``imdb``, the Large Movie Review Dataset v1.0 (Maas et al. 2011), or a dataset as ``owner/name``.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels.

    Returns:
        The training split, and the test split if there is one: ``test``, or else ``validation``.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset, or the dataset lacks a column or the split.
    """
    name = _ALIASES.get(source, source)
    splits = download(source)
    if "train" not in splits:
        raise UserError(f"{name} on the hub has no split 'train' (it has {', '.join(splits)}): choose another dataset")
    test = next((split for split in _TEST_SPLITS if split in splits), None)
    return (
        _read_split(f"{name} (train)", splits["train"], text_column, label_column),
        _read_split(f"{name} ({test})", splits[test], text_column, label_column) if test else None,
    )


def download(source: str) -> Any:
    """Downloads a dataset into the local cache of ``datasets``, unless it is there already.

    Args:
        source: ``imdb``, or any dataset as ``owner/name``.

    Returns:
        The splits by name, a ``datasets.DatasetDict``.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset.
    """
    import datasets

    name = _ALIASES.get(source, source)
    try:
        return datasets.load_dataset(name, _CONFIGURATIONS.get(name))
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(
            f"{source} is neither a local path nor a dataset on the Hugging Face hub: check its spelling"
        ) from error
    # The libraries below raise errors of many families (network, HTTP, cache, format) without a common base class.
    except Exception as error:
        reason = str(error).split("\n")[0][:150]
        raise UserError(
            f"cannot load {name} from the Hugging Face hub ({reason}): without a network add ",
            Setting("data.source", "embedded", overlay="configs/offline.yaml"),
            " or name a local folder with ",
            Setting("data.source", Placeholder("DIR")),
        ) from error


def _read_split(name: str, split: Any, text_column: str, label_column: str) -> RawSplit:
    import datasets

    for column, setting in ((text_column, "text_column"), (label_column, "label_column")):
        if column not in split.column_names:
            present = ", ".join(map(repr, split.column_names))
            raise UserError(
                f"{name} has no column {column!r} (it has {present}): name it with ", Setting(f"data.{setting}")
            )
    feature = split.features[label_column]
    return checked_split(
        name,
        split[text_column][:],
        split[label_column][:],
        label_names=feature.names if isinstance(feature, datasets.ClassLabel) else None,
    )
