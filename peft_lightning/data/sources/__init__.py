"""Sources of labelled text: the Hugging Face hub, a folder, a file, the embedded corpus."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.duplicates import without_duplicates
from peft_lightning.data.sampling import hold_out
from peft_lightning.data.sources.corpus import Corpus, Origin, RawSplit, Split, fingerprint
from peft_lightning.data.sources.embedded_sources import EMBEDDED, read_embedded
from peft_lightning.data.sources.folder import read_folder
from peft_lightning.data.sources.hub import download, is_former_name, name_on_hub, read_hub
from peft_lightning.data.sources.local_paths import names_a_file, near_paths
from peft_lightning.data.sources.quoted_formats import require_quoted_format
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.splits import TEST, TRAIN, SourceOptions, Splits, choose_splits
from peft_lightning.data.sources.table_columns import TABLE_SUFFIXES, table_suffix
from peft_lightning.data.sources.tables import read_table
from peft_lightning.data.sources.text_pairs import TextPairs, Texts
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.given_paths import given_path
from peft_lightning.task import Task, find_task

__all__ = [
    "Corpus",
    "Quoting",
    "SourceOptions",
    "Split",
    "TextPairs",
    "Texts",
    "fingerprint",
    "hub_name",
    "is_on_hub",
    "prepare",
    "read_corpus",
    "require_used_quoting",
]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# One row in so many becomes the test split if a source has none.
_HELD_OUT_SHARE = 5


def read_corpus(
    source: str,
    text_column: str,
    label_column: str | Sequence[str],
    seed: int,
    options: SourceOptions | None = None,
    deduplicate: bool = False,
) -> Corpus:
    """Reads a training and a test split, and a validation split if the source has one.

    A source without a test split is split by ``seed``: a stratified fifth of its rows becomes the test split.

    Args:
        source: ``imdb``, ``embedded``, ``embedded/regression`` and the like, a hub dataset as ``owner/name``, a folder,
            or a file. A path that exists comes before a hub dataset of the same name; ``imdb`` and what begins with
            ``embedded`` are never paths (write ``./imdb``).
        text_column: Name of the column of texts.
        label_column: Name of the column of labels, or of several.
        seed: Seed of that split.
        options: The configuration and the splits to use, and how tables are read.
        deduplicate: Whether training rows are left out whose text an earlier one, a validation or a test row has too.

    Returns:
        The splits, and the task that the labels of the training split are for.

    Raises:
        UserError: If the source does not exist or cannot be used.
    """
    options = options or SourceOptions()
    chosen = choose_splits(_find_splits(source, text_column, label_column, options), options)
    train, val, test = chosen.train, chosen.val, chosen.test
    task, targets, test_targets = find_task(train, test, options.problem_type)
    whole = Split(train.texts, targets, np.arange(len(train.texts)))
    own_test, own_val = _with_targets(test, test_targets), None
    if val is not None:
        own_val = _with_targets(val, find_task(train, val, options.problem_type)[2])
    removed = 0
    if deduplicate:
        kept = without_duplicates(whole.texts, [part.texts for part in (own_test, own_val) if part is not None])
        removed = len(whole.texts) - len(kept)
        if not len(kept):
            raise UserError(
                f"every text of {train.name} is to be validated or tested on too, so none is left to train on: "
                "bring other texts, or leave out ",
                Setting("data.deduplicate"),
            )
        whole = whole.take(kept) if removed else whole
    origin = Origin(chosen.val_name, chosen.test_name, (*chosen.notes, *_on_task(task)), removed)
    if own_test is None:
        remaining, held = hold_out(task.strata(whole.labels), max(1, len(whole.texts) // _HELD_OUT_SHARE), seed)
        return Corpus(whole.take(remaining), whole.take(held), task, own_val, origin)
    return Corpus(whole, own_test, task, own_val, origin)


def is_on_hub(source: str) -> bool:
    """Tells whether a source is a dataset on the hub, not a path.

    Args:
        source: As in ``read_corpus``.
    """
    if source == "imdb" or source in EMBEDDED:
        return source == "imdb"
    path = given_path(source)
    named = _HUB_ID.fullmatch(source) or is_former_name(source)
    return not path.exists() and not names_a_file(path) and bool(named)


def hub_name(source: str) -> str | None:
    """Returns the hub's ``owner/name`` of a source; None for one that is not on the hub.

    Args:
        source: As in ``read_corpus``.
    """
    return name_on_hub(source) if is_on_hub(source) else None


def prepare(source: str, configuration: str | None = None) -> None:
    """Downloads a source that is on the hub; does nothing for other sources.

    Args:
        source: As in ``read_corpus``.
        configuration: The dataset's configuration.

    Raises:
        UserError: If the hub cannot be reached or has no such dataset, or a path here is like it.
    """
    if is_on_hub(source):
        _require_there(source)
        download(source, configuration)


def require_used_quoting(quoting: Quoting, source: str, predict_file: str | None) -> None:
    """Refuses a word on quotation marks where no file that a command may read is a CSV or TSV.

    Args:
        quoting: What the user says of them.
        source: As in ``read_corpus``.
        predict_file: The file that ``predict`` reads, if there is one.

    Raises:
        UserError: If it says something, and neither is one.
    """
    no_path = [source] if source in EMBEDDED or is_on_hub(source) else []
    require_quoted_format(quoting, [predict_file] if no_path else [source, predict_file], no_path)


def _on_task(task: Task) -> list[str]:
    """Says which task was found, where the labels are not those of plain classes."""
    if not task.found_in:
        return []
    return [f"{task.found_in}: taken for {task.problem_type} (--model.problem_type says otherwise)"]


def _require_there(source: str) -> None:
    """Refuses a path that is not there, also where the hub may have a dataset of that name, but here is one like it."""
    if source in EMBEDDED or given_path(source).exists():
        return
    on_hub = is_on_hub(source)
    near = [] if source == "imdb" or is_former_name(source) else near_paths(source)
    if on_hub and near:
        raise UserError(
            f"data source {source} does not exist here, where there is {' and '.join(near)}: name what is meant; a"
            " dataset of that name on the hub is read in another folder"
        )
    if not on_hub:
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise UserError(
            f"data source {source} does not exist{meant}: name a folder, a file, 'imdb', 'embedded' or a hub dataset "
            "as owner/name"
        )


def _find_splits(source: str, text_column: str, label_column: str | Sequence[str], options: SourceOptions) -> Splits:
    _require_there(source)
    if is_on_hub(source):
        return read_hub(source, text_column, label_column, options.configuration, options.text_pair_column)
    path = given_path(source)
    if source not in EMBEDDED and path.is_dir():
        return read_folder(path, text_column, label_column, options)
    if options.configuration is not None:
        raise UserError(f"data source {source} has no configurations: leave out ", Setting("data.configuration"))
    if source in EMBEDDED:
        read = partial(read_embedded, source, text_pair_column=options.text_pair_column)
        return Splits("the embedded corpus", {TRAIN: partial(read, TRAIN), TEST: partial(read, TEST)})
    if table_suffix(path) is None:
        raise UserError(f"{source} has no known format: use one of {', '.join(TABLE_SUFFIXES)}")
    table = partial(
        read_table, path, text_column, label_column, options.quoting, text_pair_column=options.text_pair_column
    )
    return Splits(str(path), {TRAIN: table})


def _with_targets(split: RawSplit | None, targets: NDArray[Any] | None) -> Split | None:
    if split is None or targets is None:
        return None
    return Split(split.texts, targets, np.arange(len(split.texts)))
