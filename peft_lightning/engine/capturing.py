"""Runs training steps as CUDA graphs, with or without compiled layers, as long as that works and memory allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.trainer import call
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.accumulation import Accumulation
from peft_lightning.engine.captured_steps import CapturedSteps
from peft_lightning.engine.casting import Lent, cast_together, casts_together
from peft_lightning.engine.compilation import CompiledLayers, CompileError, compiling_pays, repeated_layers
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.gradient_buckets import Ready
from peft_lightning.engine.graph_recorder import CaptureError
from peft_lightning.engine.job_size import JobSize
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.notes import Notes
from peft_lightning.engine.step_settings import trainer_settings
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.training_data import training_data

# Widths come in any order, and a wider one may need the memory of the graphs of narrower ones.
MOST_DROPS = 3


class Capturing:
    """Runs steps as graphs; where a step cannot be captured, a note says why and later steps run uncaptured.

    Args:
        strategy: The strategy that runs the steps.
        accumulation: The state of the step under way.
        notes: Where the reason for a fallback is noted.
        asked: The engine that the user asked for.
    """

    def __init__(self, strategy: StrategyView, accumulation: Accumulation, notes: Notes, asked: EngineName) -> None:
        self._strategy = strategy
        self._accumulation = accumulation
        self._notes = notes
        self.asked = asked
        self.name: EngineName = asked if strategy.on_gpu else "eager"
        if self.name != asked != "auto":
            # Not printed here: the notes made so far are printed when the run starts.
            notes.sentences.append(f"engine {asked} needs a CUDA GPU: steps run {self.name}")
        self.fallen_back = False
        """Whether steps cannot run in the way that was asked for, or memory does not allow it."""
        self.steps: CapturedSteps | None = None
        self._layers: CompiledLayers | None = None
        self._has_clipped = self._has_stepped = self._has_replayed = False
        self._drops = 0
        self._looked_ahead = False

    def choose(self, size: JobSize) -> None:
        """Chooses between plain and compiled graphs where the user left it to the engine."""
        if self.name == "auto":
            can_compile = bool(repeated_layers(self._strategy.module))
            self.name = "compiled" if can_compile and compiling_pays(*size) else "graph"

    def training_step(self, batch: Batch) -> Tensor | None:
        """Replays the step of a batch.

        Args:
            batch: A batch on the device.

        Returns:
            The loss, a scalar; None where the step has to run uncaptured, which handles a lack of memory by itself.
        """
        self._has_clipped = self._has_stepped = self._has_replayed = False
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
        self._has_clipped, self._has_stepped, self._has_replayed = done.clips, done.updates, True
        return loss

    def update(self, own: Callable[..., Any], optimizer: Optimizer, loss: Any) -> Any:
        """Updates the weights, unless the replayed step has updated them.

        Args:
            own: The strategy's own ``optimizer_step``, which takes a ``closure``.
            optimizer: The optimiser.
            loss: What the step returned.
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
        """The norm of the gradients before the clipping; None where the step has not clipped them."""
        return self.steps.gradient_norm.clone() if self.steps is not None and self._has_clipped else None

    @property
    def ready(self) -> Ready:
        """What tells that the replay under way has filled a bucket of gradients; empty where the batch ran eager."""
        return self.steps.step.ready if self.steps is not None and self._has_replayed else {}

    @property
    def holds_memory(self) -> bool:
        """Whether there are graphs."""
        return self.steps is not None and self.steps.holds_memory

    def forget(self) -> None:
        """Drops the graphs."""
        assert self.steps is not None
        self.steps.forget()

    def give_up_memory(self) -> None:
        """Frees the graphs' memory; after ``MOST_DROPS`` times steps run eager for good."""
        self.forget()
        self._drops += 1
        if self._drops > MOST_DROPS:
            self._fall_back("eager", "not enough memory for CUDA graphs beside the steps: these run eager from here on")

    def end(self) -> None:
        """Drops the captured steps and the compiled layers at the end of a run."""
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
        # Outside the except clause nothing holds on to the tensors of the step that failed.
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
            return steps.run(batch, self._accumulation.size_for(batch), first, self._accumulation.weigh(batch))
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
        """Captures the steps of all shapes of this epoch, the largest first: its memory serves the others."""
        self._looked_ahead = True
        data = training_data(self._strategy.module.trainer)
        batches = [self._strategy.to_device(batch) for batch in (data.coming_shapes() if data is not None else ())]
        steps.capture([(batch, self._accumulation.size_for(batch)) for batch in batches])

    @contextmanager
    def _lent_layers(self, micro_batch_size: int) -> Iterator[None]:
        # The compiler specialises on a batch of one example: not worth the time.
        if self.name != "compiled" or micro_batch_size == 1:
            yield
            return
        if self._layers is None:
            self._layers = CompiledLayers(self._strategy.module)
            # The compiler makes its kernels for the shape that it sees first: a run and its resumption start with the
            # same one.
            data = training_data(self._strategy.module.trainer)
            if data is not None:
                widest = data.widest_training_batch()
                with self._layers.lent():
                    self._captured().warm_up(self._strategy.to_device(widest), self._accumulation.size_for(widest))
        with self._layers.lent():
            yield
        if self._layers.split_by is not None:
            why = f"the compiler cannot follow all that a layer does ({self._layers.split_by})"
            self._notes.add(f"{why}: it compiles the parts, which saves little: --engine graph may be as fast")

    def _cast_weights(self) -> AbstractContextManager[Lent]:
        strategy = self._strategy
        mixed = str(strategy.precision.precision).endswith("-mixed")
        if mixed and casts_together(strategy.module, compiled=self.name == "compiled"):
            return cast_together(strategy.module, strategy.compute_dtype)
        return nullcontext({})

    def _captured(self) -> CapturedSteps:
        """Returns the captured steps: new ones where the settings of a step have changed.

        A scheduler of the accumulation, for example, changes them.
        """
        settings = trainer_settings(self._strategy, self.name == "compiled", self._cast_weights, self._lent_layers)
        if self.steps is None or self.steps.settings != settings:
            self.steps = CapturedSteps(self._strategy.loss, self._strategy.optimizer, settings)
        return self.steps
