"""A training step as one CUDA graph: at a batch size of 8, launching its kernels takes longer than running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.borrowed_memory import borrowed
from peft_lightning.engine.capturable_step import CapturableStep
from peft_lightning.engine.graph_recorder import GraphRecorder
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.step_settings import StepSettings

Shape = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass
class _Recorded:
    """A captured step, its input tensors, and the gradients that it leaves in the memory of the graphs."""

    inputs: Batch
    replay: Callable[[], None] = field(default=lambda: None)
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)


class CapturedSteps:
    """Captures a step for each shape of a batch, at the latest when the shape first comes, and replays it from then on.

    The warm-up that a capture needs runs on the same batch and restores all state. So a step's arithmetic depends on
    its batch alone, not on the steps before it, and a resumed run goes on with the same bits. With torch's AdamW and no
    accumulation the whole step is captured, with the clipping and the update. Else only the loss and the gradients are
    captured, and the optimiser steps outside the graph. All graphs share their memory, and the gradients of a step of
    one batch stay in it until the next step: a second set outside took 0.24 GiB where roberta-base is fine-tuned whole
    in bf16.

    Args:
        loss: Computes the mean loss of a batch, without side effects.
        optimizer: The optimiser.
        settings: What a step does beside the loss and its gradients.
    """

    def __init__(self, loss: Callable[[Batch], Tensor], optimizer: Optimizer, settings: StepSettings) -> None:
        self._record = GraphRecorder()
        self._optimizer = optimizer
        self.settings = settings
        self.step = CapturableStep(loss, optimizer, settings)
        self._graphs: dict[tuple[Shape, int, bool], _Recorded] = {}

    def run(self, batch: Batch, micro_batch_size: int, first: bool, share: float = 1.0) -> Tensor | None:
        """Replays the step of a batch; a shape that is new is captured first.

        Args:
            batch: A batch on the device.
            micro_batch_size: The number of examples in a micro-batch.
            first: Whether no gradients have been accumulated yet.
            share: What the loss is multiplied by for its gradients: see ``share_of_step``.

        Returns:
            The loss, a scalar; None for the first step of a run, which runs uncaptured and makes the optimiser's state.
        """
        if not self.is_ready:
            return None
        recorded = self._recorded(batch, micro_batch_size, first)
        for name, values in batch.items():
            recorded.inputs[name].copy_(values)
        self.step.set_share(share)
        if self.settings.updates:
            self.step.set_rates()
        elif self.settings.lends_gradients:
            self.step.lend_gradients(first)
        else:
            self.step.drop_gradients()
        recorded.replay()
        for parameter, gradient in recorded.gradients.items():
            parameter.grad = gradient
        return self.step.loss_out.clone()

    @property
    def is_ready(self) -> bool:
        """Whether steps can be captured: the optimiser's state comes first, as it might not fit beside a graph."""
        return bool(self._optimizer.state)

    @property
    def gradient_norm(self) -> Tensor:
        """The norm of the last step's gradients before the clipping, a scalar that the next replay overwrites."""
        return self.step.gradient_norm

    def capture(self, batches: Sequence[tuple[Batch, int]]) -> None:
        """Captures the steps of some shapes ahead of their first batches, between two steps.

        All are warmed up before the first is captured: what warm-ups take cannot be used by graphs, and would be kept
        beside theirs.

        Args:
            batches: A batch of each shape, on the device, and the number of examples in its micro-batches; the largest
                first, whose memory serves the others.
        """
        for batch, micro_batch_size in batches:
            with self.settings.capturing(micro_batch_size):
                self.step.warm_up(batch, micro_batch_size)
        for batch, micro_batch_size in batches:
            for first in (True,) if self.settings.accumulate == 1 else (True, False):
                self._recorded(batch, micro_batch_size, first, is_warm=True)

    def warm_up(self, batch: Batch, micro_batch_size: int) -> None:
        """Runs a step's forward and backward pass on a batch, and restores the gradients and the random state.

        Args:
            batch: A batch on the device.
            micro_batch_size: The number of examples in a micro-batch.
        """
        self.step.warm_up(batch, micro_batch_size)

    @property
    def holds_memory(self) -> bool:
        """Whether there are graphs to forget."""
        return bool(self._graphs)

    def forget(self) -> None:
        """Drops all graphs and their memory; later steps are captured anew."""
        self._graphs.clear()
        self._record = GraphRecorder()  # a pool whose graphs are gone takes no new ones
        self.step.forget_gradients()

    def rates_on_device(self) -> AbstractContextManager[None]:
        """Lets the optimiser read its learning rates on the device, rounded as a captured step reads them."""
        return self.step.rates_on_device() if self.settings.updates else nullcontext()

    def _recorded(self, batch: Batch, micro_batch_size: int, first: bool, is_warm: bool = False) -> _Recorded:
        """Returns the captured step of a shape; a shape that is new is captured first."""
        shape: Shape = tuple((name, tuple(values.shape)) for name, values in batch.items())
        key = (shape, micro_batch_size, first)
        recorded = self._graphs.get(key)
        if recorded is None:
            with self.settings.capturing(micro_batch_size):
                if not is_warm:
                    self.step.warm_up(batch, micro_batch_size)
                before = [parameter.grad for parameter in self.step.parameters]
                try:
                    recorded = self._graphs[key] = self._capture(batch, micro_batch_size, first)
                finally:
                    # What a capture leaves was never computed; the gradients of earlier batches were.
                    for parameter, gradient in zip(self.step.parameters, before, strict=True):
                        parameter.grad = gradient
        return recorded

    def _capture(self, batch: Batch, micro_batch_size: int, first: bool) -> _Recorded:
        step = self.step
        recorded = _Recorded({name: values.clone() for name, values in batch.items()})
        if self.settings.lends_gradients:
            step.lend_gradients(first)
            recorded.replay = self._record(lambda: step.accumulate(recorded.inputs, micro_batch_size, first))
        elif self.settings.updates:
            step.drop_gradients()
            with step.capturable():
                recorded.replay = self._record(lambda: step.whole(recorded.inputs, micro_batch_size))
        else:
            step.drop_gradients()
            recorded.replay = self._record(lambda: step.gradients(recorded.inputs, micro_batch_size))
            recorded.gradients = {p: borrowed(p.grad) for p in step.parameters if p.grad is not None}
            # The next graph uses their memory too.
            step.drop_gradients()
        return recorded
