"""Which kernels a run's attention takes, from its set-up to its end."""

from __future__ import annotations

from contextlib import ExitStack

import torch

from peft_lightning.engine.attention import planned_attention, planning_pays
from peft_lightning.engine.job_size import JobSize
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.unpadded_attention import can_unpad, unpadded_attention


class AttentionKernels:
    """Attention leaves padding out where it can; else cuDNN's kernels are planned where that pays.

    Args:
        strategy: what runs the steps.
    """

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self.unpads: bool | None = None
        """Whether attention leaves padding out; None without a CUDA GPU."""
        self.plans: bool | None = None
        """Whether training may take cuDNN's attention; None without a CUDA GPU."""
        self._taken = ExitStack()

    def look(self) -> None:
        """Looks whether the network can leave padding out, once attention is as it was before."""
        self._taken.close()
        if self._strategy.on_gpu:
            self.unpads = can_unpad(self._strategy.module, self._strategy.device, self._strategy.compute_dtype)

    def plan(self, size: JobSize, compiles: bool) -> None:
        """Decides about cuDNN's kernels for a training.

        Args:
            size: the job's.
            compiles: whether steps are compiled, or were to be: then the job is meant to be long, and a step that fell
                back from it keeps its kernels.
        """
        # cuDNN has no attention for 32 bits.
        could_plan = self._strategy.compute_dtype != torch.float32 and not self.unpads
        self.plans = could_plan and (compiles or planning_pays(*size))

    def take(self, trains: bool) -> None:
        """Lets attention take the kernels until `close`.

        Args:
            trains: whether this is a training; evaluations never take planned ones.
        """
        self._taken.enter_context(planned_attention(trains and bool(self.plans)))
        if self.unpads:
            self._taken.enter_context(unpadded_attention(self._strategy.module))

    def close(self) -> None:
        """Leaves attention as it was before."""
        self._taken.close()
