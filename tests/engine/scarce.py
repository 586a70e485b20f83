"""Memory that runs out when a test says so, in the very step and pass it says."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from peft_lightning.module.classifier import TextClassifier


class Activations:
    """Stands for what a backward pass that failed had not come to: it lives as long as they would."""


class _FullInBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, loss: Tensor, activations: "Activations") -> Tensor:
        context.activations = activations
        return loss.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class ScarceMemory:
    """Lets no larger micro-batches through, from a step on.

    Args:
        monkeypatch: puts it in the place of the module's loss.
        fits: examples of a micro-batch that fits.
        from_step: optimiser steps before which everything fits.
        in_backward: whether it is the backward pass that does not fit, after some gradients were added.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fits: int, from_step: int, in_backward: bool) -> None:
        self.sizes: list[int] = []
        self.held: list[bool] = []
        """For each micro-batch, whether something still held on to a pass that had failed."""
        failed: list[weakref.ref[Activations]] = []
        self.fits = fits
        real = TextClassifier.loss

        def loss(module: TextClassifier, batch: dict[str, Tensor]) -> Tensor:
            size = len(batch["labels"])
            self.sizes.append(size)
            full = size > self.fits and module.global_step >= from_step
            if full and not in_backward:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            self.held += [any(one() is not None for one in failed)] if failed and not full else []
            computed = real(module, batch)
            if not full:
                return computed
            activations = Activations()
            failed.append(weakref.ref(activations))
            # The head's gradients are there already when the backward pass reaches what does not fit.
            weight = next(p for name, p in module.named_parameters() if p.requires_grad and "out_proj.weight" in name)
            touched: Tensor = (
                computed + (weight.sum() - weight.sum().detach()) * 7 + 0 * _FullInBackward.apply(computed, activations)
            )
            return touched

        monkeypatch.setattr(TextClassifier, "loss", loss)
