"""Steps as CUDA graphs, compiled before or not, while that works and there is memory for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.trainer import call
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.accumulation import Accumulation
from peft_lightning.engine.captured_steps import CapturedSteps
from peft_lightning.engine.casting import cast_together, casts_together
from peft_lightning.engine.compilation import CompiledLayers, CompileError, compiling_pays, repeated_layers
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.graph_recorder import CaptureError
from peft_lightning.engine.job_size import JobSize
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.notes import Notes
from peft_lightning.engine.step_settings import trainer_settings
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.training_data import training_data

# Widths come in any order, and a wider one may need the memory of the graphs that there are already.
MOST_DROPS = 3


class Capturing:
    """Runs steps as graphs; where one cannot be, it says why, and steps run as they are from then on.

    Args:
        strategy: what runs the steps.
        accumulation: the step under way.
        notes: where it says why.
        asked: which engine was asked for.
    """

    def __init__(self, strategy: StrategyView, accumulation: Accumulation, notes: Notes, asked: EngineName) -> None:
        self._strategy = strategy
        self._accumulation = accumulation
        self._notes = notes
        self.asked = asked
        self.name: EngineName = asked if strategy.on_gpu else "eager"
        if self.name != asked != "auto":
            # Not printed yet: whoever starts the run prints what there is.
            notes.sentences.append(f"engine {asked} needs a CUDA GPU: steps run {self.name}")
        self.fallen_back = False
        """Whether steps run otherwise than was asked, because they cannot or there is no memory for it."""
        self.steps: CapturedSteps | None = None
        self._layers: CompiledLayers | None = None
        self._has_clipped = self._has_stepped = False
        self._drops = 0
        self._looked_ahead = False

    def choose(self, size: JobSize) -> None:
        """Decides how steps run, where that was left to the engine.

        Args:
            size: the job's.
        """
        if self.name == "auto":
            can_compile = bool(repeated_layers(self._strategy.module))
            self.name = "compiled" if can_compile and compiling_pays(*size) else "graph"

    def training_step(self, batch: Batch) -> Tensor | None:
        """Replays the whole step of a batch; None where it is to run as it is: that says itself whether it fits.

        Args:
            batch: on the device.
        """
        self._has_clipped = self._has_stepped = False
        if self.name == "eager":
            return None
        self._accumulation.batches.append(batch)
        loss = self._replay_if_there_is_room(batch)
        if loss is None:
            self._accumulation.batches.pop()
            return None
        assert self.steps is not None
        done = self.steps.settings
        self._accumulation.has_gradients = True
        self._has_clipped, self._has_stepped = done.clips, done.updates
        return loss

    def update(self, own: Callable[..., Any], optimizer: Optimizer, loss: Any) -> Any:
        """Updates the weights, where the step has not.

        Args:
            own: the strategy's own way to do so, which takes a `closure`.
            optimizer: the optimiser.
            loss: what the step returned.
        """
        if self._has_clipped:
            trainer = self._strategy.module.trainer
            call._call_callback_hooks(trainer, "on_before_optimizer_step", optimizer)
            call._call_lightning_module_hook(trainer, "on_before_optimizer_step", optimizer)
            if not self._has_stepped:
                optimizer.step()
            return loss
        with self.steps.rates_on_device() if self.steps is not None else nullcontext():
            return own(closure=lambda: loss)

    @property
    def gradient_norm(self) -> Tensor | None:
        """The norm of the gradients before the clipping, where the step has clipped them; None where they are there."""
        return self.steps.gradient_norm.clone() if self.steps is not None and self._has_clipped else None

    @property
    def holds_memory(self) -> bool:
        """Whether there are graphs."""
        return self.steps is not None and self.steps.holds_memory

    def forget(self) -> None:
        """Drops the graphs."""
        assert self.steps is not None
        self.steps.forget()

    def give_up_memory(self) -> None:
        """Gives the graphs' memory back; where that happens again and again, there is none for them."""
        self.forget()
        self._drops += 1
        if self._drops > MOST_DROPS:
            self._fall_back("eager", "not enough memory for CUDA graphs beside the steps: these run eager from here on")

    def end(self) -> None:
        """Ends a training, or what was none."""
        self.steps = self._layers = None
        self._looked_ahead = False

    def _fall_back(self, name: EngineName, note: str) -> None:
        self.name, self.fallen_back = name, True
        self._notes.add(note)

    def _replay_if_there_is_room(self, batch: Batch) -> Tensor | None:
        try:
            return self._replay(batch)
        except torch.OutOfMemoryError:
            pass
        # Out here nothing holds on to the tensors of the step that failed.
        self._accumulation.lose_gradients()
        self.give_up_memory()
        self._strategy.free()
        return None

    def _replay(self, batch: Batch) -> Tensor | None:
        first = len(self._accumulation.batches) == 1
        try:
            steps = self._captured()
            if first and not self._looked_ahead and steps.is_ready:
                self._capture_coming(steps)
            return steps.run(batch, self._accumulation.size_for(batch), first)
        except CompileError as error:
            self._fall_back("graph", f"the layers cannot be compiled ({error}): steps run as graphs without that")
            self._looked_ahead = False
        except CaptureError as error:
            self._captured().forget()
            self._strategy.free()
            why = f"this step cannot be captured in a CUDA graph ({error})"
            self._fall_back("eager", f"{why}: steps run eager from here on")
        return None

    def _capture_coming(self, steps: CapturedSteps) -> None:
        """Captures the steps of all shapes that this epoch has: the largest first, whose memory serves the others."""
        self._looked_ahead = True
        data = training_data(self._strategy.module.trainer)
        for batch in data.coming_shapes() if data is not None else ():
            steps.capture(self._strategy.to_device(batch), self._accumulation.size_for(batch))

    def _lent_layers(self, micro_batch_size: int) -> AbstractContextManager[None]:
        # One example is a shape of its own for the compiler: not worth the time.
        if self.name != "compiled" or micro_batch_size == 1:
            return nullcontext()
        if self._layers is None:
            self._layers = CompiledLayers(self._strategy.module)
            # The compiler makes its kernels for what it sees first: the same for a run and one that goes on with it.
            data = training_data(self._strategy.module.trainer)
            if data is not None:
                widest = data.widest_training_batch()
                with self._layers.lent():
                    self._captured().warm_up(self._strategy.to_device(widest), self._accumulation.size_for(widest))
        return self._layers.lent()

    def _cast_weights(self) -> AbstractContextManager[None]:
        strategy = self._strategy
        mixed = str(strategy.precision.precision).endswith("-mixed")
        if mixed and casts_together(strategy.module, compiled=self.name == "compiled"):
            return cast_together(strategy.module, strategy.compute_dtype)
        return nullcontext()

    def _captured(self) -> CapturedSteps:
        """The captured steps; new ones where what a step does has changed, as a scheduler of the accumulation may."""
        settings = trainer_settings(self._strategy, self.name == "compiled", self._cast_weights, self._lent_layers)
        if self.steps is None or self.steps.settings != settings:
            self.steps = CapturedSteps(self._strategy.loss, self._strategy.optimizer, settings)
        return self.steps
