"""The strategy of a run on one device: Lightning's loop stays, and how a step is computed is decided here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer import call
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import AdamW, Optimizer

from peft_lightning.engine.graph import CapturedSteps, CaptureError, StepSettings
from peft_lightning.engine.pieces import Batch, pieces, rows_of
from peft_lightning.model.optimizers import state_bytes

# Widths come in any order, and a wider one may need the memory of the graphs that there are already.
MOST_DROPS = 3
EngineName = Literal["eager", "graph"]


class StepStrategy(SingleDeviceStrategy):
    """Runs steps on one device; where one does not fit the memory, its batch goes through in pieces.

    An out-of-memory error halves the pieces and repeats what had been accumulated, so that batch size, counters,
    schedule and checkpoints are those of a run that had the memory.

    Args:
        device: the device.
        engine: `eager`, Lightning's own way, or `graph`, which captures steps in CUDA graphs.
    """

    strategy_name = "single_device_steps"

    def __init__(self, device: torch.device | str = "cpu", engine: EngineName = "eager") -> None:
        super().__init__(device)
        self.engine: EngineName = engine if self.root_device.type == "cuda" else "eager"
        self.rows: int | None = None
        """Most examples that go through at once; None for the whole batch."""
        self.notes: list[str] = []
        """What had to be done differently from what was asked."""
        if self.engine != engine:
            self.notes.append(f"engine {engine} needs a CUDA GPU: steps run {self.engine}")
        self.evaluating = False
        """Whether a validation's batch is being evaluated, or was when the run broke off."""
        self._accumulated: list[Batch] = []
        self._has_gradients = False
        self._has_stepped = False
        self._lost_gradients = False
        self._drops = 0
        self._graphs: CapturedSteps | None = None

    def batch_to_device(self, batch: Batch, device: torch.device | None = None, dataloader_idx: int = 0) -> Batch:
        """Moves a batch, and leaves out a mask that masks nothing while that is known without asking the GPU.

        A captured step cannot look at its mask, and attention without one has a faster kernel.

        Args:
            batch: where the loader left it.
            device: where it goes.
            dataloader_idx: which loader it is from.
        """
        mask = batch.get("attention_mask")
        if self.engine == "graph" and self._module.trainer.training and mask is not None and bool(mask.all()):
            batch = {name: values for name, values in batch.items() if name != "attention_mask"}
        moved: Batch = super().batch_to_device(batch, device, dataloader_idx)
        return moved

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch; its gradients too, where they do not come from Lightning's backward call.

        Args:
            batch: on the device.
            batch_idx: its number in the epoch.
        """
        self._has_gradients = self._has_stepped = False
        self._accumulated.append(batch)
        if self.engine == "graph":
            loss: Tensor | None = self._survive(self._replay, batch)
            if loss is not None:
                self._has_gradients, self._has_stepped = True, self._captured().captures_update
                return loss
        if self._rows(batch) == rows_of(batch) and not self._lost_gradients:
            loss = self._survive(super().training_step, batch, batch_idx)
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
        if not self._has_gradients and self._survive(compute, let_go=closure_loss.detach_) is None:
            self._in_pieces()
        if self._graphs is not None and not self._has_stepped:
            self._graphs.note_gradients()
        return closure_loss.detach()

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | Any = None,
        **kwargs: Any,
    ) -> Any:
        """Updates the weights, where the step has not.

        Args:
            optimizer: the optimiser.
            closure: computes the loss and its gradients.
            model: the module.
            kwargs: passed on.
        """
        loss = closure()
        self._accumulated.clear()
        if self._has_stepped:
            trainer = self._module.trainer
            call._call_callback_hooks(trainer, "on_before_optimizer_step", optimizer)
            call._call_lightning_module_hook(trainer, "on_before_optimizer_step", optimizer)
            return loss
        if self._graphs is None:
            return super().optimizer_step(optimizer, lambda: loss, model, **kwargs)
        with self._graphs.rates_on_device():
            return super().optimizer_step(optimizer, lambda: loss, model, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch; where there is no room beside the graphs, without them.

        Args:
            args: the batch and its number.
            kwargs: passed on.
        """
        self.evaluating = True
        try:
            scored = super().validation_step(*args, **kwargs)
        except torch.OutOfMemoryError:
            if not self._holds_graphs:
                raise
            scored = None
        if scored is None:
            self._drop_graphs()
            self._free()
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

    @property
    def captured_norm(self) -> Tensor | None:
        """The norm of the gradients before the clipping, where the step has used them up; None where they are there."""
        return self._graphs.gradient_norm.clone() if self._graphs is not None and self._has_stepped else None

    def teardown(self) -> None:
        """Gives the graphs' memory back."""
        self._graphs = None
        self._accumulated.clear()
        super().teardown()

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
            if self._rows(self._accumulated[-1]) == 1 and not self._holds_graphs:
                raise
        # Out here nothing holds on to the tensors of the step that failed.
        if let_go is not None:
            let_go()
        for parameter in self._module.parameters():
            parameter.grad = None
        self._lost_gradients = True
        if self._holds_graphs:
            self._drop_graphs()
        else:
            self._halve()
        self._free()
        return None

    def _halve(self) -> None:
        self.rows = (self._rows(self._accumulated[-1]) + 1) // 2
        if self._graphs is not None:
            self._graphs.forget()
        step = self._module.trainer.global_step + 1
        self._note(
            f"not enough memory at step {step}: {self.rows} examples of a batch go through at a time from here on"
        )

    @property
    def _holds_graphs(self) -> bool:
        return self._graphs is not None and self._graphs.holds_memory

    def _drop_graphs(self) -> None:
        """Gives the graphs' memory back; where that happens again and again, there is none for them."""
        assert self._graphs is not None
        self._graphs.forget()
        self._drops += 1
        if self._drops > MOST_DROPS:
            self.engine = "eager"
            self._note("not enough memory for CUDA graphs beside the steps: these run eager from here on")

    def _free(self) -> None:
        if self.root_device.type == "cuda":
            torch.cuda.empty_cache()

    def _note(self, note: str) -> None:
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

    def _replay(self, batch: Batch) -> Tensor | None:
        try:
            return self._captured().run(batch, self._rows(batch), len(self._accumulated) == 1)
        except CaptureError as error:
            self.engine = "eager"
            self._captured().forget()
            self._free()
            self._note(f"this step cannot be captured in a CUDA graph ({error}): steps run eager from here on")
            return None

    def _captured(self) -> CapturedSteps:
        trainer = self._module.trainer
        # A scheduler of the accumulation changes what a step is.
        if self._graphs is None or self._graphs.settings.accumulate != trainer.accumulate_grad_batches:
            scaler = getattr(self.precision_plugin, "scaler", None)
            optimizer = self.optimizers[0]
            accumulate = trainer.accumulate_grad_batches
            settings = StepSettings(
                clip_value=trainer.gradient_clip_val,
                clips_norm=trainer.gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM),
                accumulate=accumulate,
                context=self.precision_plugin.train_step_context,
                scale=scaler.scale if scaler is not None else lambda loss: loss,
                updates=type(optimizer) is AdamW and accumulate == 1 and scaler is None,
            )
            self._graphs = CapturedSteps(self._loss, optimizer, settings)
        return self._graphs


def gradient_norm(trainer: Trainer, optimizer: Optimizer) -> Tensor:
    """Returns the norm of the gradients before the clipping, wherever they are.

    Args:
        trainer: the Trainer, in `on_before_optimizer_step`.
        optimizer: its optimiser.
    """
    captured = trainer.strategy.captured_norm if isinstance(trainer.strategy, StepStrategy) else None
    if captured is not None:
        return captured
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return get_total_norm(gradients)
