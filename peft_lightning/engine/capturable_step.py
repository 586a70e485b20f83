"""What a captured step computes, from and into tensors that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.micro_batches import Batch, micro_batches, size_of
from peft_lightning.engine.step_settings import StepSettings

# Bytes of gradients of which the GPU may hold another set for a moment.
_SMALL = 64 * 2**20


class CapturableStep:
    """A training step that a graph can repeat: its loss, its norm, its gradients and rates stay where they are.

    Args:
        loss: the mean loss of a batch; nothing but that.
        optimizer: the optimiser.
        settings: what else a step does.
    """

    def __init__(self, loss: Callable[[Batch], Tensor], optimizer: Optimizer, settings: StepSettings) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._settings = settings
        self.parameters: list[Tensor] = [value for group in optimizer.param_groups for value in group["params"]]
        self.device = self.parameters[0].device
        self._gradients: dict[Tensor, Tensor] = {}
        self.loss_out = torch.zeros((), device=self.device)
        self.gradient_norm = torch.zeros((), device=self.device)
        self._rates = [torch.zeros((), device=self.device) for _ in optimizer.param_groups]

    def whole(self, batch: Batch, micro_batch_size: int) -> None:
        """Computes a step with its clipping and its update.

        Args:
            batch: tensors that stay where they are.
            micro_batch_size: examples that go through together.
        """
        self._backward(batch, micro_batch_size)
        with self._settings.clipping.around_update(self.parameters, self._optimizer) as norm:
            self.gradient_norm.copy_(norm)
            self._optimizer.step()
        # Their memory is the next graph's too: nothing of a step outlives it.
        self.drop_gradients()

    def accumulate(self, batch: Batch, micro_batch_size: int, first: bool) -> None:
        """Computes the gradients of a batch, and adds them to those of the batches before it.

        Args:
            batch: tensors that stay where they are.
            micro_batch_size: examples that go through together.
            first: whether no gradients have been accumulated yet.
        """
        kept = self._gradients
        # What is added to a gradient takes a kernel for each parameter; all of them are copied by one or two.
        copied = first and sum(gradient.nbytes for gradient in kept.values()) <= _SMALL
        if copied:
            self.drop_gradients()
        elif first:
            torch._foreach_zero_(list(kept.values()))
        self._backward(batch, micro_batch_size)
        if self._settings.clips:
            self.gradient_norm.copy_(self._settings.clipping.clip(self.parameters))
        if copied:
            fresh = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
            torch._foreach_copy_(list(kept.values()), fresh)
            self.lend_gradients(first)

    def warm_up(self, batch: Batch, micro_batch_size: int) -> None:
        """Runs a step's forward and backward pass on a batch and leaves no trace of it.

        Args:
            batch: on the device.
            micro_batch_size: examples that go through together.
        """
        kept = [parameter.grad for parameter in self.parameters]
        self.drop_gradients()
        batch = dict(batch)
        if "attention_mask" in batch:
            # A capture cannot look whether a mask masks anything, so it always goes through attention with a mask.
            # transformers leaves a mask that masks nothing out: this one masks a token.
            batch["attention_mask"] = batch["attention_mask"].clone()
            batch["attention_mask"][0, -1] = 0
        try:
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                self._backward(batch, micro_batch_size)
            if not self._settings.updates and not self._gradients:
                # The optimiser leaves parameters without gradients alone.
                given = [parameter for parameter in self.parameters if parameter.grad is not None]
                self._gradients = {parameter: torch.zeros_like(parameter) for parameter in given}
        finally:
            for parameter, gradient in zip(self.parameters, kept, strict=True):
                parameter.grad = gradient

    def lend_gradients(self, first: bool) -> None:
        """Gives the parameters the gradients that stay where they are.

        Args:
            first: whether no gradients have been accumulated yet.
        """
        for parameter, gradient in self._gradients.items():
            if not first and parameter.grad is not None and parameter.grad is not gradient:
                gradient.copy_(parameter.grad)  # of a step before it that ran as it is
            parameter.grad = gradient

    def drop_gradients(self) -> None:
        """Leaves the parameters without gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def forget_gradients(self) -> None:
        """Gives the memory back of the gradients that stay where they are."""
        self._gradients = {}

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

    def _backward(self, batch: Batch, micro_batch_size: int) -> None:
        settings = self._settings
        whole = size_of(batch)
        total = torch.zeros_like(self.loss_out)
        for part, share in micro_batches(batch, micro_batch_size):
            with settings.weights():
                with settings.context():
                    loss = self._loss(part)
                if micro_batch_size < whole:
                    loss = loss * share
                settings.scale(loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.loss_out.copy_(total)


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
