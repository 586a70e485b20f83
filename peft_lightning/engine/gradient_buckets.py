"""Gradients averaged over the processes of a run, outside a captured step and while its backward pass goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch import distributed as dist

from peft_lightning.task.gathering import gathered

# Bytes in a bucket. The more is sent at a time, the faster, and the later is begun. torch's DistributedDataParallel
# sends 25 MiB at a time: roberta-base's 0.5 GB of gradients took 4.7 ms so (two H200s, after the backward pass), three
# times what NVLink needs. A step outside a graph copies one at a time.
BUCKET_BYTES = 64 * 2**20
# Elements after which a gradient starts in its bucket: kernels read aligned addresses faster.
_ALIGNMENT = 64
# What tells that a bucket is filled, by its address.
Ready = Mapping[int, torch.cuda.Event]


def buckets_of(parameters: Sequence[Tensor], most_bytes: int = BUCKET_BYTES) -> list[list[Tensor]]:
    """Sorts parameters into buckets whose gradients are sent together, the same in all processes.

    Args:
        parameters: The parameters.
        most_bytes: The most bytes in a bucket; a larger parameter has one to itself.

    Returns:
        The parameters of each bucket, all of one type.
    """
    buckets: list[list[Tensor]] = []
    filling: dict[torch.dtype, tuple[list[Tensor], int]] = {}
    for parameter in parameters:
        bucket, held = filling.get(parameter.dtype, ([], 0))
        if not bucket or held + parameter.nbytes > most_bytes:
            bucket, held = [], 0
            buckets.append(bucket)
        bucket.append(parameter)
        filling[parameter.dtype] = (bucket, held + parameter.nbytes)
    return buckets


def gradients_in_buckets(buckets: Sequence[Sequence[Tensor]]) -> dict[Tensor, Tensor]:
    """Makes gradients of zeros that lie beside each other, so that they are averaged where they lie.

    Args:
        buckets: The parameters of each bucket, as ``buckets_of`` returns them.

    Returns:
        The gradient of each parameter.
    """
    return {
        parameter: gradient
        for bucket in buckets
        for parameter, gradient in zip(bucket, _parts(_flat(bucket), bucket), strict=True)
    }


class SharedGradients:
    """Averages the gradients of parameters over all processes.

    Args:
        parameters: The trained parameters, in the same order in all processes.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self._buckets: dict[tuple[bool, ...], list[list[Tensor]]] = {}
        self._sends: torch.cuda.Stream | None = None

    def average(self, ready: Ready | None = None) -> None:
        """Replaces the gradients by their mean over all processes; every process calls this in every step.

        Args:
            ready: For buckets that a step still fills, what tells that it has done so. They are sent then, those of the
                last layers first.
        """
        in_place: list[dist.Work] = []
        for bucket in reversed(self._with_gradients()):
            gradients = [_gradient(parameter) for parameter in bucket]
            flat = _around(gradients)
            if flat is not None:
                in_place.append(self._averaging_once(flat, (ready or {}).get(flat.data_ptr())))
                continue
            # Steps outside a graph: one bucket's copy at a time.
            flat = _flat(bucket)
            parts = list(_parts(flat, bucket))
            torch._foreach_copy_(parts, gradients)
            _averaging(flat).wait()
            torch._foreach_copy_(gradients, parts)
        for work in in_place:
            work.wait()

    def _averaging_once(self, flat: Tensor, filled: torch.cuda.Event | None) -> dist.Work:
        if filled is None:
            return _averaging(flat)
        self._sends = self._sends or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._sends):
            self._sends.wait_event(filled)
            return _averaging(flat)

    def _with_gradients(self) -> list[list[Tensor]]:
        """Returns buckets of the parameters that have a gradient in any process; those that lack one here get zeros.

        Which parameters have one follows from the model, so a change comes to all processes in the same step; models
        that skip layers at random are refused.
        """
        here = tuple(parameter.grad is not None for parameter in self.parameters)
        if here not in self._buckets:
            anywhere = [any(of_one) for of_one in zip(*gathered(here), strict=True)]
            self._buckets[here] = buckets_of([p for p, has in zip(self.parameters, anywhere, strict=True) if has])
        for bucket in self._buckets[here]:
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        return self._buckets[here]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _averaging(flat: Tensor) -> dist.Work:
    """Starts to average a bucket over the processes: divided first, so that a sum of narrow floats cannot overflow."""
    work: dist.Work
    if flat.is_cuda and dist.get_backend() == "nccl":  # which divides on its way
        work = dist.all_reduce(flat, dist.ReduceOp.AVG, async_op=True)
    else:
        flat.div_(dist.get_world_size())
        work = dist.all_reduce(flat, async_op=True)
    return work


def _flat(bucket: Sequence[Tensor]) -> Tensor:
    return torch.zeros(sum(_room(parameter) for parameter in bucket), dtype=bucket[0].dtype, device=bucket[0].device)


def _parts(flat: Tensor, bucket: Sequence[Tensor]) -> Iterator[Tensor]:
    start = 0
    for parameter in bucket:
        yield flat[start : start + parameter.numel()].view(parameter.shape)
        start += _room(parameter)


def _around(gradients: Sequence[Tensor]) -> Tensor | None:
    """Returns the tensor in which gradients lie as a bucket has them; None where they do not."""
    flat = gradients[0]._base
    if flat is None or flat.dim() != 1 or flat.numel() != sum(_room(gradient) for gradient in gradients):
        return None
    start = 0
    for gradient in gradients:
        if gradient._base is not flat or gradient.storage_offset() != start:
            return None
        start += _room(gradient)
    return flat


def _room(tensor: Tensor) -> int:
    return -(-tensor.numel() // _ALIGNMENT) * _ALIGNMENT
