"""Steps on one device that survive a lack of memory: a batch that does not fit goes through in pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.cpu_dropout import faster_dropout
from peft_lightning.engine.pieces import Batch, pieces, rows_of
from peft_lightning.optim.optimizers import state_bytes


class PiecewiseStrategy(SingleDeviceStrategy):
    """Lightning's own steps, until one does not fit the memory: then its batch goes through in pieces.

    An out-of-memory error halves the pieces and repeats what had been accumulated, so that batch size, counters,
    schedule and checkpoints are those of a run that had the memory.

    Args:
        device: the device.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__(device)
        self.rows: int | None = None
        """Most examples that go through at once; None for the whole batch."""
        self.notes: list[str] = []
        """What had to be done differently from what was asked."""
        self.evaluating = False
        """Whether a validation's batch is being evaluated, or was when the run broke off."""
        self.test_follows = False
        """Whether training ends in this process's test: the weights stay, and checkpoints go on being written."""
        self._accumulated: list[Batch] = []
        self._has_gradients = False
        self._lost_gradients = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch; its gradients too, where they do not come from Lightning's backward call.

        Args:
            batch: on the device.
            batch_idx: its number in the epoch.
        """
        self._has_gradients = False
        self._accumulated.append(batch)
        with faster_dropout(self.root_device):
            if self._rows(batch) == rows_of(batch) and not self._lost_gradients:
                loss: Tensor | None = self._survive(super().training_step, batch, batch_idx)
                if loss is not None:
                    return loss
            return self._in_pieces()

    def backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Computes the gradients, where the step has not.

        Args:
            closure_loss: the loss.
            optimizer: the optimiser.
            args: passed on.
            kwargs: passed on.
        """
        compute = partial(super().backward, closure_loss, optimizer, *args, **kwargs)
        # Lightning holds on to the loss, and the loss to all activations that the failed pass had not come to.
        with faster_dropout(self.root_device):
            if not self._has_gradients and self._survive(compute, let_go=closure_loss.detach_) is None:
                self._in_pieces()
        return closure_loss.detach()

    def optimizer_step(
        self, optimizer: Optimizer, closure: Callable[[], Any], model: LightningModule | Any = None, **kwargs: Any
    ) -> Any:
        """Updates the weights.

        Args:
            optimizer: the optimiser.
            closure: computes the loss and its gradients.
            model: the module.
            kwargs: passed on.
        """
        loss = closure()
        self._accumulated.clear()
        return self._update(optimizer, loss, model, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch.

        Args:
            args: the batch and its number.
            kwargs: passed on.
        """
        self.evaluating = True
        scored = super().validation_step(*args, **kwargs)
        self.evaluating = False
        return scored

    def try_out(self, batch: Batch) -> None:
        """Finds in what pieces a batch fits, beside the state that the optimiser will have, and leaves no trace.

        Args:
            batch: the widest there will be, on the device.
        """
        devices = [self.root_device] if self.root_device.type == "cuda" else []
        optimizer = self.optimizers[0]
        trained = [value for group in optimizer.param_groups for value in group["params"]]
        with torch.random.fork_rng(devices):
            state = torch.empty(state_bytes(optimizer), dtype=torch.uint8, device=self.root_device)
            self._accumulated.append(batch)
            self._in_pieces()
        del state
        self._accumulated.clear()
        for parameter in trained:
            parameter.grad = None

    def teardown(self) -> None:
        """Lets go of the batches of a step that broke off; where a test follows, of all that only training needs."""
        self._accumulated.clear()
        if not self.test_follows:
            super().teardown()
            return
        # Lightning would copy weights and moments to the host, 1.5 GB in full fine-tuning at roberta-base size.
        for optimizer in self.optimizers:
            optimizer.state.clear()
            optimizer.zero_grad()
        self.precision_plugin.teardown()
        assert self.accelerator is not None
        self.accelerator.teardown()

    @property
    def _module(self) -> LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    def _rows(self, batch: Batch) -> int:
        return min(self.rows or rows_of(batch), rows_of(batch))

    def _survive(self, step: Callable[..., Any], *arguments: Any, let_go: Callable[[], object] | None = None) -> Any:
        """Does something; returns None, and makes room, where there is not enough memory for it."""
        try:
            return step(*arguments)
        except torch.OutOfMemoryError:
            if self._rows(self._accumulated[-1]) == 1 and not self._has_spare_memory:
                raise
        # Out here nothing holds on to the tensors of the step that failed.
        if let_go is not None:
            let_go()
        self._lose_gradients()
        if self._has_spare_memory:
            self._give_up_spare_memory()
        else:
            self._halve()
        self._free()
        return None

    def _lose_gradients(self) -> None:
        for parameter in self._module.parameters():
            parameter.grad = None
        self._lost_gradients = True

    @property
    def _has_spare_memory(self) -> bool:
        """Whether there is memory that steps can do without."""
        return False

    def _give_up_spare_memory(self) -> None:
        """Gives it up."""

    def _update(self, optimizer: Optimizer, loss: Any, model: Any, **kwargs: Any) -> Any:
        """Updates the weights with the gradients that there are."""
        return super().optimizer_step(optimizer, lambda: loss, model, **kwargs)

    def _halve(self) -> None:
        self.rows = (self._rows(self._accumulated[-1]) + 1) // 2
        step = self._module.trainer.global_step + 1
        self._note(
            f"not enough memory at step {step}: {self.rows} examples of a batch go through at a time from here on"
        )

    def _free(self) -> None:
        if self.root_device.type == "cuda":
            torch.cuda.empty_cache()

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            print(f"note: {note}", flush=True)

    def _in_pieces(self) -> Tensor:
        """Adds a batch's gradients piece by piece, and returns its loss.

        Where memory runs out, all that had been accumulated is computed again: the failed pass may have added to it.
        """
        while True:
            batches = self._accumulated if self._lost_gradients else self._accumulated[-1:]
            self._lost_gradients = False
            losses = self._survive(lambda given: [self._backward_in_pieces(batch) for batch in given], batches)
            if losses is not None:
                self._has_gradients = True
                loss: Tensor = losses[-1]
                return loss

    def _backward_in_pieces(self, batch: Batch) -> Tensor:
        total = torch.zeros((), device=self.root_device)
        accumulate = self._module.trainer.accumulate_grad_batches
        for piece, share in pieces(batch, self._rows(batch)):
            with self.precision_plugin.train_step_context():
                loss = self._loss(piece) * share
            super().backward(loss / accumulate, self.optimizers[0])
            total += loss.detach()
        return total

    def _loss(self, batch: Batch) -> Tensor:
        loss: Callable[[Batch], Tensor] = self._module.loss  # type: ignore[assignment]
        return loss(batch)
