"""The engine of sharded weights: Lightning's own stepping, with gradients that are spread over the processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.attention_kernels import AttentionKernels
from peft_lightning.engine.compilation import CompiledLayers, CompileError, compiling_pays, repeated_layers
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.job_size import job_size
from peft_lightning.engine.lightning_engine import LightningEngine
from peft_lightning.engine.sharded_tensors import whole
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.record import StepFigures
from peft_lightning.task.gathering import gathered


class ShardedEngine(LightningEngine):
    """Runs steps uncaptured and on whole batches: a process that cut its batch would leave the others waiting.

    Args:
        strategy: The strategy. It may be unfinished: its attributes are read during the run.
        asked: ``eager``; ``compiled``, which compiles the layers; or ``auto``, the faster of them for the job.
    """

    def __init__(self, strategy: Strategy, asked: EngineName = "auto") -> None:
        self._strategy = StrategyView(strategy, strategy.backward)
        self._asked = asked
        self._layers: CompiledLayers | None = None
        self._kernels = AttentionKernels(self._strategy)

    @property
    def notes(self) -> list[str]:
        """That steps are not captured, and why layers are not compiled where that was asked for."""
        how = "run eager" if self._layers is None else "run with compiled layers"
        sharded = f"weights are sharded over the processes: steps {how}, and no CUDA graph captures them"
        lacks_gpu = self._asked == "compiled" and not self._strategy.on_gpu
        return [sharded, *(["engine compiled needs a CUDA GPU: layers are not compiled"] if lacks_gpu else [])]

    def figures(self, batch_size: int | None) -> StepFigures:
        """Returns what the record's ``engine`` section says of this process's steps.

        Args:
            batch_size: Examples in a batch; None where the data module does not say.
        """
        return StepFigures(
            name="eager" if self._layers is None else "compiled",
            micro_batch_size=batch_size,
            unpadded_attention=self._kernels.unpads,
            cudnn_attention=self._kernels.plans,
        )

    def setup(self, trainer: Trainer) -> None:
        """Chooses attention kernels, and whether layers are compiled, the same in all processes.

        Args:
            trainer: The Trainer, whose strategy is set up.
        """
        trains = trainer.state.fn == TrainerFn.FITTING
        self._kernels.look()
        if trains and self._strategy.on_gpu:
            size = job_size(trainer)
            pays = all(gathered(self._asked == "auto" and compiling_pays(*size)))
            if (self._asked == "compiled" or pays) and repeated_layers(self._strategy.module):
                self._layers = CompiledLayers(self._strategy.module)
            self._kernels.plan(size, compiles=self._layers is not None)
        self._kernels.take(trains)

    def teardown(self) -> None:
        """Restores the network's own attention and layers."""
        self._kernels.close()
        self._layers = None

    @contextmanager
    def layers(self) -> Iterator[None]:
        """Runs the network with the layers that were chosen within the context.

        Raises:
            UserError: Compiled layers were asked for, and these cannot be compiled.
        """
        if self._layers is None:
            yield
            return
        # Where the choice was ours, a layer that cannot be compiled runs eager: the compiler says so. Half-way through
        # a pass, with one layer's weights gathered, there is no way back.
        with torch._dynamo.config.patch(suppress_errors=self._asked == "auto"):
            through = False
            try:
                with self._layers.lent():
                    yield
                    through = True
            except CompileError as error:
                if through and self._asked == "auto":
                    self._layers = None  # no layer hands gradients on, so none was compiled: a head alone is trained
                    return
                raise UserError(f"the layers cannot be compiled ({error}): use ", Setting("engine", "eager")) from error

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients of all processes, a scalar."""
        return whole(super().gradient_norm(optimizer))
