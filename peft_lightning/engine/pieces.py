"""A batch cut into pieces that fit the memory: more steps for the GPU, the same step for the run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Batch = dict[str, Tensor]


def rows_of(batch: Batch) -> int:
    """Returns how many examples a batch has.

    Args:
        batch: tensors whose first dimension is the batch's.
    """
    return len(batch["labels"])


def pieces(batch: Batch, rows: int) -> Iterator[tuple[Batch, float]]:
    """Cuts a batch into pieces, each with its share of the batch's mean loss.

    Args:
        batch: tensors whose first dimension is the batch's.
        rows: most examples in a piece.

    Yields:
        a piece, and how much its own mean loss weighs in the batch's.
    """
    whole = rows_of(batch)
    for start in range(0, whole, rows):
        piece = {name: values[start : start + rows] for name, values in batch.items()}
        yield piece, rows_of(piece) / whole
