"""Gradients that a captured step leaves in buckets, each of which can be sent while the step goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from peft_lightning.engine.casting import Lent, cast
from peft_lightning.engine.gradient_buckets import Ready, buckets_of, gradients_in_buckets


class BucketedGradients:
    """Gradients at fixed addresses, in buckets that the backward pass fills.

    A bucket is filled by one kernel or two once all its gradients are there; adding each gradient to its place as it is
    computed would take a kernel for each, and setting the places to zero before another pass.

    Args:
        parameters: The parameters that get gradients.
        in_turn: Whether the backward pass computes each gradient at once: no layer is computed again for a part of it.

    Attributes:
        in_turn: See above.
        gradients: The gradient of each parameter.
        ready: On a GPU, what tells that a bucket is filled, by the address of the bucket.
    """

    def __init__(self, parameters: Sequence[Tensor], in_turn: bool) -> None:
        self.in_turn = in_turn
        self._adds = False
        self._missing: list[int] = []
        self._buckets = buckets_of(parameters)
        self._bucket_of = {parameter: number for number, bucket in enumerate(self._buckets) for parameter in bucket}
        self.gradients = gradients_in_buckets(self._buckets)
        starts = [self.gradients[bucket[0]] for bucket in self._buckets]
        self._events = [_external_event() if start.is_cuda else None for start in starts]
        self.ready: Ready = {
            start.data_ptr(): event for start, event in zip(starts, self._events, strict=True) if event is not None
        }

    @contextmanager
    def filled(self, adds: bool) -> Iterator[None]:
        """Fills the buckets with the gradients that are computed within the context, and drops those.

        Args:
            adds: Whether gradients are added to what is in the buckets.
        """
        self._adds = adds
        self._missing = [len(bucket) for bucket in self._buckets]
        yield
        # The last layers' first, as they are sent in this order.
        for number in reversed(range(len(self._buckets))):
            if self._missing[number]:
                self._fill(number, {})

    @contextmanager
    def watched(self, lent: Lent) -> Iterator[None]:
        """Fills each bucket in a backward pass that computes in turn, as soon as its gradients are there.

        Args:
            lent: What stands for parameters in the pass.

        Raises:
            RuntimeError: A gradient grew once its bucket was filled.
        """
        parameter_of = {lent.get(parameter, parameter): parameter for parameter in self._bucket_of}

        def count(computed: Tensor) -> None:
            number = self._bucket_of[parameter_of[computed]]
            self._missing[number] -= 1
            if not self._missing[number]:
                self._fill(number, lent)

        with _hooked(list(parameter_of), count):
            yield
        if any(left < 0 for left in self._missing):
            raise RuntimeError("a gradient grew after its bucket had been filled")

    def all_filled(self) -> None:
        """Tells that all buckets are filled, by a backward pass that added each gradient to its place."""
        for event in self._events:
            if event is not None:
                event.record()

    def _fill(self, number: int, lent: Lent) -> None:
        bucket, event = self._buckets[number], self._events[number]
        places = [self.gradients[parameter] for parameter in bucket]
        holders = [lent.get(parameter, parameter) for parameter in bucket]
        fresh = [
            torch.zeros_like(place) if h.grad is None else h.grad for h, place in zip(holders, places, strict=True)
        ]
        # One kernel copies gradients of one type, or adds those of the bucket's: others would take a kernel each.
        for dtype in dict.fromkeys(gradient.dtype for gradient in fresh):
            alike = [gradient for gradient in fresh if gradient.dtype == dtype]
            into = [place for place, gradient in zip(places, fresh, strict=True) if gradient.dtype == dtype]
            if self._adds:
                torch._foreach_add_(into, alike if dtype == into[0].dtype else cast(alike, into[0].dtype))
            else:
                torch._foreach_copy_(into, alike)
        for holder in holders:
            holder.grad = None
        if event is not None:
            event.record()


@contextmanager
def counted(grown: Counter[Tensor], parameters: Sequence[Tensor], lent: Lent) -> Iterator[None]:
    """Counts how often each parameter's gradient grows in the backward pass within the context.

    Args:
        grown: What is counted is added to these counts.
        parameters: The parameters.
        lent: What stands for parameters in the pass.
    """
    parameter_of = {leaf: parameter for parameter, leaf in lent.items()} | {p: p for p in parameters if p.requires_grad}
    with _hooked(list(parameter_of), lambda computed: grown.update((parameter_of[computed],))):
        yield


@contextmanager
def _hooked(leaves: Sequence[Tensor], hook: Callable[[Tensor], None]) -> Iterator[None]:
    handles = [
        leaf.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        for leaf in leaves
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _external_event() -> torch.cuda.Event:
    """Makes an event that a graph records at each replay, and that streams outside it wait for."""
    return torch.cuda.Event(external=True)  # type: ignore[no-untyped-call]
