"""The strategy of a run on one device: Lightning's loop stays, and how a step is computed is decided here."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import AdamW, Optimizer

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.engine.attention import planned_attention, planning_pays
from peft_lightning.engine.captured_steps import CapturedSteps, StepSettings
from peft_lightning.engine.casting import cast_together, casts_together
from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.compilation import CompiledLayers, CompileError, compiling_pays, repeated_layers
from peft_lightning.engine.graph_recorder import CaptureError
from peft_lightning.engine.job_size import job_size, said_by_data, widest_batch
from peft_lightning.engine.pieces import Batch
from peft_lightning.engine.piecewise import PiecewiseStrategy
from peft_lightning.engine.unpadded_attention import can_unpad, unpadded_attention

# Widths come in any order, and a wider one may need the memory of the graphs that there are already.
MOST_DROPS = 3
EngineName = Literal["auto", "eager", "graph", "compiled"]


class StepStrategy(PiecewiseStrategy):
    """Runs steps on one device as they are or captured in CUDA graphs, in pieces where they do not fit the memory.

    Args:
        device: the device.
        engine: `eager`, Lightning's own way; `graph`, which captures steps in CUDA graphs; `compiled`, which compiles
            the layers before; or `auto`, the fastest of them for the job.
    """

    strategy_name = "single_device_steps"

    def __init__(self, device: torch.device | str = "cpu", engine: EngineName = "auto") -> None:
        super().__init__(device)
        self._asked = engine
        self.engine: EngineName = engine if self.root_device.type == "cuda" else "eager"
        if self.engine != engine != "auto":
            self.notes.append(f"engine {engine} needs a CUDA GPU: steps run {self.engine}")
        self.fallen_back = False
        """Whether steps run otherwise than was asked, because they cannot or there is no memory for it."""
        self.unpads: bool | None = None
        """Whether attention leaves padding out; None without a CUDA GPU."""
        self.plans_attention: bool | None = None
        """Whether training may take cuDNN's attention; None without a CUDA GPU."""
        self._kernels = ExitStack()
        self._has_clipped = self._has_stepped = False
        self._drops = 0
        self._looked_ahead = False
        self._graphs: CapturedSteps | None = None
        self._layers: CompiledLayers | None = None

    def setup(self, trainer: Trainer) -> None:
        """Decides how steps run, where that was left to it.

        Args:
            trainer: the Trainer.
        """
        super().setup(trainer)
        self._kernels.close()
        trains = trainer.state.fn == TrainerFn.FITTING
        on_gpu = self.root_device.type == "cuda"
        if on_gpu:
            self.unpads = can_unpad(self._module, self.root_device, self._compute_dtype)
        if trains and (on_gpu or self.engine == "auto"):
            size = job_size(trainer)
            if self.engine == "auto":
                can_compile = bool(repeated_layers(self._module))
                self.engine = "compiled" if can_compile and compiling_pays(*size) else "graph"
            if on_gpu:
                # cuDNN has no attention for 32 bits. Who compiles has a long job in mind; a step that fell back from
                # it keeps its kernels.
                could_plan = self._compute_dtype != torch.float32 and not self.unpads
                self.plans_attention = could_plan and ("compiled" in (self.engine, self._asked) or planning_pays(*size))
        self._kernels.enter_context(planned_attention(trains and bool(self.plans_attention)))
        if self.unpads:
            self._kernels.enter_context(unpadded_attention(self._module))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch, or replays the whole step.

        Args:
            batch: on the device.
            batch_idx: its number in the epoch.
        """
        self._has_clipped = self._has_stepped = False
        if self.engine != "eager":
            self._accumulated.append(batch)
            loss = self._replay_if_there_is_room(batch)
            if loss is not None:
                assert self._graphs is not None
                done = self._graphs.settings
                self._has_gradients, self._has_clipped, self._has_stepped = True, done.clips, done.updates
                return loss
            self._accumulated.pop()
        return super().training_step(batch, batch_idx)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch, by the kernels of a test; where there is no room beside the graphs, without them.

        Args:
            args: the batch and its number.
            kwargs: passed on.
        """
        with planned_attention(False):
            try:
                return super().validation_step(*args, **kwargs)
            except torch.OutOfMemoryError:
                if not self._has_spare_memory:
                    raise
            assert self._graphs is not None
            self._graphs.forget()
            self._free()
            return super().validation_step(*args, **kwargs)

    @property
    def captured_norm(self) -> Tensor | None:
        """The norm of the gradients before the clipping, where the step has clipped them; None where they are there."""
        return self._graphs.gradient_norm.clone() if self._graphs is not None and self._has_clipped else None

    def teardown(self) -> None:
        """Gives the graphs' memory back."""
        self._graphs = self._layers = None
        self._looked_ahead = False
        self._kernels.close()
        super().teardown()

    @property
    def _has_spare_memory(self) -> bool:
        return self._graphs is not None and self._graphs.holds_memory

    def _give_up_spare_memory(self) -> None:
        """Gives the graphs' memory back; where that happens again and again, there is none for them."""
        assert self._graphs is not None
        self._graphs.forget()
        self._drops += 1
        if self._drops > MOST_DROPS:
            self._fall_back("eager", "not enough memory for CUDA graphs beside the steps: these run eager from here on")

    def _fall_back(self, engine: EngineName, note: str) -> None:
        self.engine, self.fallen_back = engine, True
        self._note(note)

    def _update(self, optimizer: Optimizer, loss: Any, model: Any, **kwargs: Any) -> Any:
        """Updates the weights, where the step has not."""
        if self._has_clipped:
            trainer = self._module.trainer
            call._call_callback_hooks(trainer, "on_before_optimizer_step", optimizer)
            call._call_lightning_module_hook(trainer, "on_before_optimizer_step", optimizer)
            if not self._has_stepped:
                optimizer.step()
            return loss
        with self._graphs.rates_on_device() if self._graphs is not None else nullcontext():
            return super()._update(optimizer, loss, model, **kwargs)

    def _replay_if_there_is_room(self, batch: Batch) -> Tensor | None:
        """Replays a step; None where it is to run as it is: it says itself whether that fits."""
        try:
            return self._replay(batch)
        except torch.OutOfMemoryError:
            pass
        # Out here nothing holds on to the tensors of the step that failed.
        self._lose_gradients()
        self._give_up_spare_memory()
        self._free()
        return None

    def _replay(self, batch: Batch) -> Tensor | None:
        first = len(self._accumulated) == 1
        try:
            steps = self._captured()
            if first and not self._looked_ahead and steps.is_ready:
                self._capture_coming(steps)
            return steps.run(batch, self._rows(batch), first)
        except CompileError as error:
            self._fall_back("graph", f"the layers cannot be compiled ({error}): steps run as graphs without that")
            self._looked_ahead = False
        except CaptureError as error:
            self._captured().forget()
            self._free()
            why = f"this step cannot be captured in a CUDA graph ({error})"
            self._fall_back("eager", f"{why}: steps run eager from here on")
        return None

    def _capture_coming(self, steps: CapturedSteps) -> None:
        """Captures the steps of all shapes that this epoch has: the largest first, whose memory serves the others."""
        self._looked_ahead = True
        for batch in said_by_data(self._module.trainer, "coming_shapes") or ():
            steps.capture(self.batch_to_device(batch), self._rows(batch))

    def _lent_layers(self, rows: int) -> AbstractContextManager[None]:
        # One example is a shape of its own for the compiler: not worth the time.
        if self.engine != "compiled" or rows == 1:
            return nullcontext()
        if self._layers is None:
            self._layers = CompiledLayers(self._module)
            # The compiler makes its kernels for what it sees first: the same for a run and one that goes on with it.
            widest = widest_batch(self._module.trainer)
            if widest is not None:
                with self._layers.lent():
                    self._captured().warm_up(self.batch_to_device(widest), self._rows(widest))
        return self._layers.lent()

    def _cast_weights(self) -> AbstractContextManager[None]:
        mixed = str(self.precision_plugin.precision).endswith("-mixed")
        if mixed and casts_together(self._module, compiled=self.engine == "compiled"):
            return cast_together(self._module, self._compute_dtype)
        return nullcontext()

    @property
    def _compute_dtype(self) -> torch.dtype:
        return compute_dtype(str(self.precision_plugin.precision))

    def _captured(self) -> CapturedSteps:
        """The captured steps; new ones where what a step does has changed, as a scheduler of the accumulation may."""
        settings = self._settings()
        if self._graphs is None or self._graphs.settings != settings:
            self._graphs = CapturedSteps(self._loss, self.optimizers[0], settings)
        return self._graphs

    def _settings(self) -> StepSettings:
        trainer = self._module.trainer
        scaler = getattr(self.precision_plugin, "scaler", None)
        accumulate = trainer.accumulate_grad_batches
        clips = accumulate == 1 and scaler is None
        return StepSettings(
            clipping=Clipping(
                trainer.gradient_clip_val,
                by_norm=trainer.gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM),
                in_update=self.engine == "compiled",  # which rounds otherwise anyway
            ),
            accumulate=accumulate,
            context=self.precision_plugin.train_step_context,
            scale=scaler.scale if scaler is not None else _as_it_is,
            clips=clips,
            updates=clips and type(self.optimizers[0]) is AdamW,
            weights=self._cast_weights,
            capturing=self._lent_layers,
        )


def _as_it_is(loss: Tensor) -> Tensor:
    return loss


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
