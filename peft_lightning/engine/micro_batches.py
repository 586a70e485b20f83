"""A batch cut into micro-batches that fit the memory: more steps for the GPU, the same step for the run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Batch = dict[str, Tensor]


def size_of(batch: Batch) -> int:
    """Returns how many examples a batch has.

    Args:
        batch: tensors whose first dimension is the batch's.
    """
    return len(batch["labels"])


def micro_batches(batch: Batch, micro_batch_size: int) -> Iterator[tuple[Batch, float]]:
    """Cuts a batch into micro-batches, each with its share of the batch's mean loss.

    Args:
        batch: tensors whose first dimension is the batch's.
        micro_batch_size: most examples in a micro-batch.

    Yields:
        A micro-batch, and how much its own mean loss weighs in the batch's.
    """
    whole = size_of(batch)
    for start in range(0, whole, micro_batch_size):
        part = {name: values[start : start + micro_batch_size] for name, values in batch.items()}
        yield part, size_of(part) / whole
