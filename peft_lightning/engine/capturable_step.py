"""The arithmetic of a captured training step, which reads and writes tensors at fixed addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.bucketed_gradients import BucketedGradients, counted
from peft_lightning.engine.casting import Lent
from peft_lightning.engine.gradient_buckets import Ready
from peft_lightning.engine.micro_batches import Batch, micro_batches, size_of
from peft_lightning.engine.step_settings import StepSettings

# The context of a forward and a backward pass that looks at the gradients of what was lent, and at the others.
Watched = Callable[[Lent], AbstractContextManager[None]]
# Bytes of gradients up to which the GPU may hold a second set for a moment.
_SMALL = 64 * 2**20


def _unwatched(lent: Lent) -> AbstractContextManager[None]:
    return nullcontext()


class CapturableStep:
    """A training step that a graph can replay: its loss, share, gradient norm, gradients and learning rates never move.

    Args:
        loss: Computes the mean loss of a batch, without side effects.
        optimizer: The optimiser.
        settings: What a step does beside the loss and its gradients.
    """

    def __init__(self, loss: Callable[[Batch], Tensor], optimizer: Optimizer, settings: StepSettings) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._settings = settings
        self.parameters: list[Tensor] = [value for group in optimizer.param_groups for value in group["params"]]
        self.device = self.parameters[0].device
        self._gradients: dict[Tensor, Tensor] = {}
        self._buckets: BucketedGradients | None = None
        self.loss_out = torch.zeros((), device=self.device)
        self.gradient_norm = torch.zeros((), device=self.device)
        self.share = torch.ones((), device=self.device)
        self._rates = [torch.zeros((), device=self.device) for _ in optimizer.param_groups]

    def whole(self, batch: Batch, micro_batch_size: int) -> None:
        """Computes a whole step: the gradients, the clipping and the update.

        Args:
            batch: Tensors at fixed addresses.
            micro_batch_size: The number of examples in a micro-batch.
        """
        self._backward(batch, micro_batch_size)
        with self._settings.clipping.around_update(self.parameters, self._optimizer) as norm:
            self.gradient_norm.copy_(norm)
            self._optimizer.step()
        # The next graph uses the memory of the gradients too: nothing of a step outlives it.
        self.drop_gradients()

    def gradients(self, batch: Batch, micro_batch_size: int) -> None:
        """Computes the gradients of a step of one batch, and clips them; the optimiser steps later.

        Args:
            batch: Tensors at fixed addresses.
            micro_batch_size: The number of examples in a micro-batch.
        """
        self._backward(batch, micro_batch_size)
        if self._settings.clips:
            self.gradient_norm.copy_(self._settings.clipping.clip(self.parameters))

    def accumulate(self, batch: Batch, micro_batch_size: int, first: bool) -> None:
        """Computes the gradients of a batch, and adds them to those of the batches before it.

        Args:
            batch: Tensors at fixed addresses.
            micro_batch_size: The number of examples in a micro-batch.
            first: Whether no gradients have been accumulated yet.
        """
        kept, buckets = self._gradients, self._buckets
        small = sum(gradient.nbytes for gradient in kept.values()) <= _SMALL
        # Of several micro-batches the last completes the gradients: these are sent once it is through.
        in_turn = buckets is not None and buckets.in_turn and micro_batch_size >= size_of(batch)
        if buckets is not None and (in_turn or small):
            self.drop_gradients()
            with buckets.filled(adds=not first):
                self._backward(batch, micro_batch_size, buckets.watched if in_turn else _unwatched)
            self.lend_gradients(first)
            return
        # Adding to gradients takes a kernel for each parameter; one or two kernels copy all of them.
        copied = first and small
        if copied:
            self.drop_gradients()
        elif first:
            torch._foreach_zero_(list(kept.values()))
        self._backward(batch, micro_batch_size)
        if copied:
            fresh = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
            torch._foreach_copy_(list(kept.values()), fresh)
            self.lend_gradients(first)
        if buckets is not None:
            buckets.all_filled()

    def warm_up(self, batch: Batch, micro_batch_size: int) -> None:
        """Runs a step's forward and backward pass on a batch, and restores the gradients and the random state.

        Args:
            batch: A batch on the device.
            micro_batch_size: The number of examples in a micro-batch.
        """
        kept = [parameter.grad for parameter in self.parameters]
        self.drop_gradients()
        grown: Counter[Tensor] = Counter()
        batch = dict(batch)
        if "attention_mask" in batch:
            # A capture cannot read whether a mask masks anything, so a captured step always runs attention with a mask.
            # Outside a capture, transformers drops a mask that masks nothing: this one masks a token.
            batch["attention_mask"] = batch["attention_mask"].clone()
            batch["attention_mask"][0, -1] = 0
        try:
            devices = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(devices):
                self._backward(batch, micro_batch_size, partial(counted, grown, self.parameters))
            if self._settings.lends_gradients and not self._gradients:
                # The optimiser leaves parameters without gradients alone.
                with_gradients = [parameter for parameter in self.parameters if parameter.grad is not None]
                if self._settings.shares:
                    in_turn = max(grown.values(), default=0) <= -(-size_of(batch) // micro_batch_size)
                    self._buckets = BucketedGradients(with_gradients, in_turn)
                    self._gradients = self._buckets.gradients
                else:
                    self._gradients = {parameter: torch.zeros_like(parameter) for parameter in with_gradients}
        finally:
            for parameter, gradient in zip(self.parameters, kept, strict=True):
                parameter.grad = gradient

    def lend_gradients(self, first: bool) -> None:
        """Gives the parameters the gradient tensors at fixed addresses.

        Args:
            first: Whether no gradients have been accumulated yet.
        """
        for parameter, gradient in self._gradients.items():
            if not first and parameter.grad is not None and parameter.grad is not gradient:
                gradient.copy_(parameter.grad)  # an earlier batch of this step ran outside the graph
            parameter.grad = gradient

    def drop_gradients(self) -> None:
        """Leaves the parameters without gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def forget_gradients(self) -> None:
        """Frees the gradient tensors at fixed addresses."""
        self._gradients, self._buckets = {}, None

    @property
    def ready(self) -> Ready:
        """What tells, on a GPU, that the last replay has filled a bucket of gradients."""
        return self._buckets.ready if self._buckets is not None else {}

    def set_share(self, share: float) -> None:
        """Sets what the loss of the coming batch is multiplied by where several batches make a step."""
        if self._settings.weighs:
            self.share.fill_(share)

    def set_rates(self) -> None:
        """Copies the learning rates to the device."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            rate.fill_(group["lr"])

    @contextmanager
    def rates_on_device(self) -> Iterator[None]:
        """Lets the optimiser read its learning rates on the device."""
        self.set_rates()
        with _lent(self._optimizer.param_groups, "lr", self._rates):
            yield

    @contextmanager
    def capturable(self) -> Iterator[None]:
        """Lets the optimiser's step be captured."""
        groups = self._optimizer.param_groups
        with self.rates_on_device(), _lent(groups, "capturable", [True] * len(groups)):
            yield

    def _backward(self, batch: Batch, micro_batch_size: int, watched: Watched = _unwatched) -> None:
        settings = self._settings
        whole = size_of(batch)
        total = torch.zeros_like(self.loss_out)
        for part, share in micro_batches(batch, micro_batch_size):
            with settings.weights() as lent, watched(lent):
                with settings.context():
                    loss = self._loss(part)
                if micro_batch_size < whole:
                    loss = loss * share
                divided = loss / settings.accumulate
                if settings.weighs:
                    divided = divided * self.share
                settings.scale(divided).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.loss_out.copy_(total)


@contextmanager
def _lent(groups: Sequence[dict[str, Any]], name: str, values: Sequence[Any]) -> Iterator[None]:
    """Gives parameter groups other values of a setting, and restores their own before a checkpoint can see them."""
    kept = [group[name] for group in groups]
    for group, value in zip(groups, values, strict=True):
        group[name] = value
    try:
        yield
    finally:
        for group, value in zip(groups, kept, strict=True):
            group[name] = value
