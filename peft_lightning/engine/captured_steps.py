"""A training step as one CUDA graph: at a batch of 8 the launching of its kernels takes longer than they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.graph_recorder import GraphRecorder
from peft_lightning.engine.pieces import Batch, pieces, rows_of

# Bytes of gradients of which the GPU may hold another set for a moment.
_SMALL = 64 * 2**20
Shape = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class StepSettings:
    """What a captured step does beside the loss and its gradients.

    Args:
        clipping: what is done to the gradients before the update.
        accumulate: batches whose gradients are added up for one step.
        context: what the forward pass runs in, such as autocast.
        scale: multiplies the loss before the backward pass, as a gradient scaler does.
        clips: whether the clipping can be captured: the gradients are neither accumulated nor scaled.
        updates: whether the optimiser's step, too, can be captured.
        weights: what the forward and the backward pass run in, such as with weights that are lent.
        capturing: what warm-up and capture run in, by the examples that go through at once; replays run without it.
    """

    clipping: Clipping
    accumulate: int
    context: Callable[[], AbstractContextManager[None]]
    scale: Callable[[Tensor], Tensor]
    clips: bool
    updates: bool
    weights: Callable[[], AbstractContextManager[None]] = nullcontext
    capturing: Callable[[int], AbstractContextManager[None]] = lambda rows: nullcontext()


@dataclass
class _Recorded:
    """A captured step, and the tensors that go in and come out."""

    inputs: Batch
    replay: Callable[[], None] = field(default=lambda: None)


class CapturedSteps:
    """Captures the step of each shape of a batch, at the latest when it first comes, and replays it from then on.

    What a capture needs to have run before runs on the same batch and leaves no trace; so a step's arithmetic depends
    on its batch alone, not on what came before it, and a resumed run goes on with the same bits. With torch's AdamW and
    no accumulation the whole step is captured, with the clipping and the update; else the loss and the gradients, and
    the optimiser steps outside. All graphs share their memory.

    Args:
        loss: the mean loss of a batch; nothing but that.
        optimizer: the optimiser.
        settings: what else a step does.
    """

    def __init__(self, loss: Callable[[Batch], Tensor], optimizer: Optimizer, settings: StepSettings) -> None:
        self._loss = loss
        self._record = GraphRecorder()
        self._optimizer = optimizer
        self.settings = settings
        self._parameters: list[Tensor] = [value for group in optimizer.param_groups for value in group["params"]]
        self._device = self._parameters[0].device
        self.captures_update = settings.updates
        self._graphs: dict[tuple[Shape, int, bool], _Recorded] = {}
        self._gradients: dict[Tensor, Tensor] = {}
        self._loss_out = torch.zeros((), device=self._device)
        self.gradient_norm = torch.zeros((), device=self._device)
        self._rates = [torch.zeros((), device=self._device) for _ in optimizer.param_groups]

    def run(self, batch: Batch, rows: int, first: bool) -> Tensor | None:
        """Replays the step of a batch, and captures it before where that has not been done.

        Args:
            batch: on the device.
            rows: examples that go through at once.
            first: whether no gradients have been accumulated yet.

        Returns:
            The loss; None where this step is to run as it is: the first of a run, which makes the optimiser's state.
        """
        if not self.is_ready:
            return None
        recorded = self._recorded(batch, rows, first)
        for name, values in batch.items():
            recorded.inputs[name].copy_(values)
        if self.captures_update:
            self._set_rates()
        else:
            self._lend_gradients(first)
        recorded.replay()
        return self._loss_out.clone()

    @property
    def is_ready(self) -> bool:
        """Whether steps can be captured: beside the memory of a graph there might be none for the optimiser's state."""
        return bool(self._optimizer.state)

    def capture(self, batch: Batch, rows: int) -> None:
        """Captures the step of a shape before the first batch of it has come, between two steps.

        Args:
            batch: one of that shape, on the device.
            rows: examples that go through at once.
        """
        for first in (True,) if self.settings.accumulate == 1 else (True, False):
            self._recorded(batch, rows, first)

    @property
    def holds_memory(self) -> bool:
        """Whether there are graphs to forget."""
        return bool(self._graphs)

    def forget(self) -> None:
        """Drops all graphs and their memory; what comes next is captured anew."""
        self._graphs.clear()
        self._record = GraphRecorder()  # a pool whose graphs are gone takes no new ones
        self._gradients = {}

    @contextmanager
    def rates_on_device(self) -> Iterator[None]:
        """Lets the optimiser read its learning rates on the device, rounded as a captured step reads them."""
        if not self.captures_update:
            yield
            return
        self._set_rates()
        with _lent(self._optimizer.param_groups, "lr", self._rates):
            yield

    def warm_up(self, batch: Batch, rows: int) -> None:
        """Runs a step's forward and backward pass on a batch and leaves no trace of it.

        Args:
            batch: on the device.
            rows: examples that go through at once.
        """
        kept = [parameter.grad for parameter in self._parameters]
        self._drop_gradients()
        batch = dict(batch)
        if "attention_mask" in batch:
            # A capture cannot look whether a mask masks anything, so it always goes through attention with a mask.
            # transformers leaves a mask that masks nothing out: this one masks a token.
            batch["attention_mask"] = batch["attention_mask"].clone()
            batch["attention_mask"][0, -1] = 0
        try:
            with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
                self._backward(batch, rows)
            if not self.captures_update and not self._gradients:
                # The optimiser leaves parameters without gradients alone.
                given = [parameter for parameter in self._parameters if parameter.grad is not None]
                self._gradients = {parameter: torch.zeros_like(parameter) for parameter in given}
        finally:
            for parameter, gradient in zip(self._parameters, kept, strict=True):
                parameter.grad = gradient

    def _lend_gradients(self, first: bool) -> None:
        for parameter, gradient in self._gradients.items():
            if not first and parameter.grad is not None and parameter.grad is not gradient:
                gradient.copy_(parameter.grad)  # of a step before it that ran as it is
            parameter.grad = gradient

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _set_rates(self) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            rate.fill_(group["lr"])

    def _recorded(self, batch: Batch, rows: int, first: bool) -> _Recorded:
        """The captured step of a shape; captures it where that has not been done."""
        shape: Shape = tuple((name, tuple(values.shape)) for name, values in batch.items())
        key = (shape, rows, first)
        recorded = self._graphs.get(key)
        if recorded is None:
            with self.settings.capturing(rows):
                self.warm_up(batch, rows)
                try:
                    recorded = self._graphs[key] = self._capture(batch, rows, first)
                except RuntimeError:
                    if self.captures_update or first:  # what the capture left there was never computed
                        self._drop_gradients()
                    raise
        return recorded

    def _capture(self, batch: Batch, rows: int, first: bool) -> _Recorded:
        recorded = _Recorded({name: values.clone() for name, values in batch.items()})
        if self.captures_update:
            self._drop_gradients()
            groups = self._optimizer.param_groups
            with self.rates_on_device(), _lent(groups, "capturable", [True] * len(groups)):
                recorded.replay = self._record(lambda: self._whole(recorded.inputs, rows))
        else:
            self._lend_gradients(first)
            recorded.replay = self._record(lambda: self._accumulate(recorded.inputs, rows, first))
        return recorded

    def _whole(self, batch: Batch, rows: int) -> None:
        self._backward(batch, rows)
        with self.settings.clipping.around_update(self._parameters, self._optimizer) as norm:
            self.gradient_norm.copy_(norm)
            self._optimizer.step()
        # Their memory is the next graph's too: nothing of a step outlives it.
        self._drop_gradients()

    def _accumulate(self, batch: Batch, rows: int, first: bool) -> None:
        kept = self._gradients
        # What is added to a gradient takes a kernel for each parameter; all of them are copied by one or two.
        copied = first and sum(gradient.nbytes for gradient in kept.values()) <= _SMALL
        if copied:
            self._drop_gradients()
        elif first:
            torch._foreach_zero_(list(kept.values()))
        self._backward(batch, rows)
        if self.settings.clips:
            self.gradient_norm.copy_(self.settings.clipping.clip(self._parameters))
        if copied:
            fresh = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
            torch._foreach_copy_(list(kept.values()), fresh)
            self._lend_gradients(first)

    def _backward(self, batch: Batch, rows: int) -> None:
        settings = self.settings
        whole = rows_of(batch)
        total = torch.zeros_like(self._loss_out)
        for piece, share in pieces(batch, rows):
            with settings.weights():
                with settings.context():
                    loss = self._loss(piece)
                if rows < whole:
                    loss = loss * share
                settings.scale(loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._loss_out.copy_(total)


@contextmanager
def _lent(groups: Sequence[dict[str, Any]], name: str, values: Sequence[Any]) -> Iterator[None]:
    """Gives parameter groups other values of a setting, and puts back what they had: no checkpoint knows of it."""
    kept = [group[name] for group in groups]
    for group, value in zip(groups, values, strict=True):
        group[name] = value
    try:
        yield
    finally:
        for group, value in zip(groups, kept, strict=True):
            group[name] = value
