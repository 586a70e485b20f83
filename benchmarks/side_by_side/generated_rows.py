"""Large tables of labelled text from the clauses of the embedded corpus: short rows, and whole reviews."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from peft_lightning.data.embedded.composer import Composer

Kind = Literal["short", "whole", "long"]
# IMDb's reviews have 231 words in the mean; two composed ones have 275. Four have 403 tokens or more (roberta-base).
_COMPOSED_IN_A_REVIEW = {"whole": 2, "long": 4}
_WORDS_IN_A_SHORT_ROW = 30
# So many composed reviews lend the words of the short rows.
_LENDING = 4000
_ROWS_AT_ONCE = 10_000


def write_rows(path: Path, kind: Kind, rows: int) -> None:
    """Writes a table with the columns ``text`` and ``label``, the same in every call, unless it is there.

    Args:
        path: A .parquet or .csv file.
        kind: ``short``: 30 words in a row; ``whole``: two composed reviews of an opinion, one after the other;
            ``long``: four of them.
        rows: Number of rows.
    """
    if path.exists():
        return
    made = _short(rows) if kind == "short" else _composed(rows, _COMPOSED_IN_A_REVIEW[kind])
    schema = pa.schema({"text": pa.string(), "label": pa.int64()})
    partial = path.with_name(f"partial_{path.name}")
    writer = pq.ParquetWriter(partial, schema) if path.suffix == ".parquet" else pa_csv.CSVWriter(partial, schema)
    with writer:
        while part := list(itertools.islice(made, _ROWS_AT_ONCE)):
            texts, labels = zip(*part, strict=True)
            writer.write_table(pa.table([list(texts), list(labels)], schema=schema))
    partial.replace(path)


def _composed(rows: int, in_a_row: int) -> Iterator[tuple[str, int]]:
    composer = Composer("train")
    for row, label in enumerate(composer.labels(rows)):
        first = row * in_a_row
        yield "\n\n".join(composer.review(first + n, label) for n in range(in_a_row)), label


def _short(rows: int) -> Iterator[tuple[str, int]]:
    composer = Composer("train")
    words = [composer.review(row, label).split() for row, label in enumerate(composer.labels(_LENDING))]
    labels = composer.labels(_LENDING)
    dice = random.Random(1)
    for _ in range(rows):
        # The beginning of one review and the middle of another: few rows come twice.
        first, second = dice.randrange(_LENDING), dice.randrange(_LENDING)
        head = dice.randrange(5, _WORDS_IN_A_SHORT_ROW - 5)
        start = dice.randrange(len(words[second]))
        taken = [*words[first][:head], *words[second][start:], *words[second]][:_WORDS_IN_A_SHORT_ROW]
        yield " ".join(taken), labels[first]
