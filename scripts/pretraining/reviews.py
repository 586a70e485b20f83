"""The reviews that the backbone may see: the training and the unlabelled ones, and no others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

# A whitelist, never a glob: whatever else lies in the folder (test.parquet above all) is not opened.
TRAINING_FILE = "train.parquet"
UNLABELLED_FILE = "unsupervised.parquet"


@dataclass(frozen=True)
class Reviews:
    """Review texts, where they come from, and what identifies them.

    Args:
        texts: the reviews, in file order.
        files: for each file that was read, its name and how many reviews it held.
        sha256: over all the texts.
    """

    texts: list[str]
    files: dict[str, int]
    sha256: str


def read_reviews(folder: Path, column: str = "text") -> Reviews:
    """Reads the training reviews and, where there are any, the unlabelled ones; never the test reviews.

    Args:
        folder: holds `train.parquet` and perhaps `unsupervised.parquet`.
        column: the column with the text.

    Raises:
        FileNotFoundError: there is no `train.parquet`.
        ValueError: a file lacks the column, or holds no review.
    """
    import pyarrow.parquet as pq

    texts: list[str] = []
    files: dict[str, int] = {}
    digest = hashlib.sha256()
    for name in (TRAINING_FILE, UNLABELLED_FILE):
        path = folder / name
        if not path.exists() and name == UNLABELLED_FILE:
            continue
        # Opened by Python rather than by Arrow, so that an audit hook sees each file that is read.
        with path.open("rb") as handle:
            parquet = pq.ParquetFile(handle)
            if column not in parquet.schema_arrow.names:
                raise ValueError(f"{path} has no column {column!r}; it has {parquet.schema_arrow.names}")
            read: list[str] = parquet.read(columns=[column]).column(column).to_pylist()
        if not read:
            raise ValueError(f"{path} holds no review")
        for text in read:
            digest.update(text.encode("utf-8") + b"\0")
        texts.extend(read)
        files[name] = len(read)
    return Reviews(texts, files, digest.hexdigest())
