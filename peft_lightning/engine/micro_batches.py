"""Cuts a batch into micro-batches that fit the memory: more passes on the GPU, the same optimiser step for the run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Batch = dict[str, Tensor]


def size_of(batch: Batch) -> int:
    """Returns the number of examples in a batch."""
    return len(batch["labels"])


def micro_batches(batch: Batch, micro_batch_size: int) -> Iterator[tuple[Batch, float]]:
    """Cuts a batch into micro-batches, each with its share of the batch's mean loss.

    Args:
        batch: Tensors whose first dimension is that of the examples.
        micro_batch_size: The most examples in a micro-batch.

    Yields:
        A micro-batch, and the weight of its mean loss in the mean loss of the batch.
    """
    whole = size_of(batch)
    for start in range(0, whole, micro_batch_size):
        part = {name: values[start : start + micro_batch_size] for name, values in batch.items()}
        yield part, size_of(part) / whole
