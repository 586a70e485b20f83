"""Steps that survive a lack of memory: a batch that does not fit is cut into micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from peft_lightning.engine.accumulation import Accumulation
from peft_lightning.engine.cpu_dropout import faster_dropout
from peft_lightning.engine.micro_batches import Batch, micro_batches, size_of
from peft_lightning.engine.notes import Notes
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.optim.optimizers import state_bytes


class Dispensable(Protocol):
    """A holder of memory that steps can do without, such as the memory of graphs."""

    @property
    def holds_memory(self) -> bool:
        """Whether there is memory to free."""
        ...

    def give_up_memory(self) -> None:
        """Frees the memory."""
        ...


class MicroBatching:
    """Runs Lightning's own steps until one does not fit the memory, and cuts batches into micro-batches from then on.

    An out-of-memory error halves the micro-batches and repeats the accumulated batches. So batch size, counters,
    schedule and checkpoints are those of a run that had the memory.

    Args:
        strategy: The strategy that runs the steps.
        accumulation: The state of the step under way.
        dispensable: The memory that is freed before a micro-batch is halved.
        notes: Where each halving is noted.
    """

    def __init__(
        self, strategy: StrategyView, accumulation: Accumulation, dispensable: Dispensable, notes: Notes
    ) -> None:
        self._strategy = strategy
        self._accumulation = accumulation
        self._dispensable = dispensable
        self._notes = notes

    def training_step(self, own: Callable[[], Any], batch: Batch) -> Tensor:
        """Computes the loss of a batch; in micro-batches, its gradients too, ahead of Lightning's backward call.

        Args:
            own: Runs the strategy's own training step on this batch.
            batch: A batch on the device.

        Returns:
            The mean loss, a scalar.
        """
        accumulation = self._accumulation
        accumulation.has_gradients = False
        accumulation.batches.append(batch)
        accumulation.weigh(batch)
        with faster_dropout(self._strategy.device):
            if accumulation.size_for(batch) == size_of(batch) and not accumulation.lost_gradients:
                loss: Tensor | None = self._survive(own)
                if loss is not None:
                    return loss
            return self._in_micro_batches()

    def backward(self, own: Callable[[], Tensor], closure_loss: Tensor) -> Tensor:
        """Computes the gradients, unless the step has computed them.

        Args:
            own: Runs the strategy's own backward pass from this loss.
            closure_loss: The loss.

        Returns:
            The loss, detached.
        """
        # Lightning holds on to the loss, and the loss holds all activations that the failed pass had not reached.
        with faster_dropout(self._strategy.device):
            if not self._accumulation.has_gradients and self._survive(own, let_go=closure_loss.detach_) is None:
                self._in_micro_batches()
        return closure_loss.detach()

    def try_out(self, batch: Batch) -> None:
        """Finds the micro-batch size at which a batch fits the memory beside the optimiser's future state.

        The gradients are dropped and the random state is restored.

        Args:
            batch: The widest batch of the job, on the device.
        """
        device = self._strategy.device
        optimizer = self._strategy.optimizer
        trained = [value for group in optimizer.param_groups for value in group["params"]]
        with torch.random.fork_rng([device] if self._strategy.on_gpu else []):
            state = torch.empty(state_bytes(optimizer), dtype=torch.uint8, device=device)
            self._accumulation.batches.append(batch)
            self._in_micro_batches()
        del state
        self._accumulation.batches.clear()
        for parameter in trained:
            parameter.grad = None

    def _survive(self, step: Callable[[], Any], let_go: Callable[[], object] | None = None) -> Any:
        """Runs a step and returns its result; where memory runs out, frees some and returns None."""
        accumulation, dispensable = self._accumulation, self._dispensable
        try:
            return step()
        except torch.OutOfMemoryError:
            if accumulation.size_for(accumulation.batches[-1]) == 1 and not dispensable.holds_memory:
                raise
        # Outside the except clause nothing holds on to the tensors of the step that failed.
        if let_go is not None:
            let_go()
        accumulation.lose_gradients()
        if dispensable.holds_memory:
            dispensable.give_up_memory()
        else:
            self._halve()
        self._strategy.free()
        return None

    def _halve(self) -> None:
        size = self._accumulation.halve()
        step = self._strategy.module.trainer.global_step + 1
        self._notes.add(f"not enough memory at step {step}: batches go through in micro-batches of {size} from here on")

    def _in_micro_batches(self) -> Tensor:
        """Adds a batch's gradients micro-batch by micro-batch, and returns its mean loss.

        Where memory runs out, all accumulated gradients are computed again: the failed pass may have added to them.
        """
        accumulation = self._accumulation
        while True:
            batches = accumulation.batches if accumulation.lost_gradients else accumulation.batches[-1:]
            accumulation.lost_gradients = False
            losses = self._survive(partial(self._losses, batches))
            if losses is not None:
                accumulation.has_gradients = True
                loss: Tensor = losses[-1]
                return loss

    def _losses(self, batches: list[Batch]) -> list[Tensor]:
        return [self._backward_in_micro_batches(batch) for batch in batches]

    def _backward_in_micro_batches(self, batch: Batch) -> Tensor:
        strategy = self._strategy
        total = torch.zeros((), device=strategy.device)
        accumulate = strategy.module.trainer.accumulate_grad_batches
        self._accumulation.weigh(batch)
        for part, share in micro_batches(batch, self._accumulation.size_for(batch)):
            with strategy.precision.train_step_context():
                loss = strategy.loss(part) * share
            strategy.backward(loss / accumulate, strategy.optimizer)
            total += loss.detach()
        return total
