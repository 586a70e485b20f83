"""Sources of labelled text: the Hugging Face hub, a folder, a file, the embedded corpus."""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from peft_lightning.data.sampling import hold_out
from peft_lightning.data.sources.corpus import Corpus, RawSplit, Split, fingerprint
from peft_lightning.data.sources.folder import read_folder
from peft_lightning.data.sources.hub import download, read_hub
from peft_lightning.data.sources.tables import TABLE_SUFFIXES, read_table, read_texts
from peft_lightning.errors import UserError
from peft_lightning.task import find_task

__all__ = ["Corpus", "Split", "fingerprint", "is_on_hub", "prepare", "read_corpus", "read_texts"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# One row in so many becomes the test split if a source has none.
_HELD_OUT_SHARE = 5


def read_corpus(source: str, text_column: str, label_column: str, seed: int) -> Corpus:
    """Reads a training and a test split.

    A source without a test split is split by ``seed``: a stratified fifth of its rows becomes the test split.

    Args:
        source: ``imdb``, ``embedded``, a hub dataset as ``owner/name``, a folder, or a file. A path that exists
            comes before a hub dataset of the same name; ``imdb`` and ``embedded`` are never paths (write ``./imdb``).
        text_column: Name of the column of texts.
        label_column: Name of the column of labels.
        seed: Seed of that split.

    Returns:
        Both splits, and the task that the labels of the training split are for.

    Raises:
        UserError: If the source does not exist or cannot be used.
    """
    train, test = _read(source, text_column, label_column)
    task, targets, test_targets = find_task(train, test)
    whole = Split(train.texts, targets, np.arange(len(train.texts)))
    if test is None or test_targets is None:
        remaining, held = hold_out(task.strata(targets), max(1, len(train.texts) // _HELD_OUT_SHARE), seed)
        return Corpus(whole.take(remaining), whole.take(held), task)
    return Corpus(whole, Split(test.texts, test_targets, np.arange(len(test.texts))), task)


def is_on_hub(source: str) -> bool:
    """Tells whether a source is a dataset on the hub, not a path.

    Args:
        source: As in ``read_corpus``.
    """
    if source in ("imdb", "embedded"):
        return source == "imdb"
    path = Path(source).expanduser()
    return not path.exists() and path.suffix not in TABLE_SUFFIXES and bool(_HUB_ID.fullmatch(source))


def prepare(source: str) -> None:
    """Downloads a source that is on the hub; does nothing for other sources.

    Args:
        source: As in ``read_corpus``.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset.
    """
    if is_on_hub(source):
        download(source)


def _read(source: str, text_column: str, label_column: str) -> tuple[RawSplit, RawSplit | None]:
    if source == "embedded":
        return _read_embedded("train"), _read_embedded("test")
    if is_on_hub(source):
        return read_hub(source, text_column, label_column)
    path = Path(source).expanduser()
    if path.is_dir():
        return read_folder(path, text_column, label_column)
    if not path.exists():
        raise UserError(
            f"data source {source} does not exist: name a folder, a file, 'imdb', 'embedded' or a hub dataset "
            "as owner/name"
        )
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"{source} has no known format: use one of {', '.join(TABLE_SUFFIXES)}")
    return read_table(path, text_column, label_column), None


def _read_embedded(split: Literal["train", "test"]) -> RawSplit:
    from peft_lightning.data.embedded import CLASS_NAMES, EmbeddedReviews

    reviews = EmbeddedReviews(split)
    return RawSplit(f"the embedded corpus ({split})", reviews, list(reviews.labels), list(CLASS_NAMES))
