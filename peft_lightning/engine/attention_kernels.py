"""The attention kernels of a run, from its set-up to its end."""

from __future__ import annotations

from contextlib import ExitStack

import torch

from peft_lightning.engine.attention import planned_attention, planning_pays
from peft_lightning.engine.job_size import JobSize
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.unpaddable_networks import can_unpad
from peft_lightning.engine.unpadded_attention import unpadded_attention


class AttentionKernels:
    """Chooses attention that skips padding where the network allows it, else cuDNN's kernels where they pay off."""

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self.unpads: bool | None = None
        """Whether attention skips padding; None without a CUDA GPU."""
        self.plans: bool | None = None
        """Whether training may use cuDNN's attention; None without a CUDA GPU."""
        self._taken = ExitStack()

    def look(self) -> None:
        """Restores the network's own attention, then finds out whether it can skip padding."""
        self._taken.close()
        if self._strategy.on_gpu:
            self.unpads = can_unpad(self._strategy.module, self._strategy.device, self._strategy.compute_dtype)

    def plan(self, size: JobSize, compiles: bool) -> None:
        """Decides whether a training uses cuDNN's kernels.

        Args:
            size: The size of the job.
            compiles: Whether steps are compiled, or were to be compiled. Such a job is long, and it keeps these kernels
                where its steps fell back from compiling.
        """
        # cuDNN has no attention for 32 bits.
        could_plan = self._strategy.compute_dtype != torch.float32 and not self.unpads
        self.plans = could_plan and (compiles or planning_pays(*size))

    def take(self, trains: bool) -> None:
        """Switches the chosen kernels on until ``close``.

        Args:
            trains: Whether this is a training; evaluations never use cuDNN's planned kernels.
        """
        self._taken.enter_context(planned_attention(trains and bool(self.plans)))
        if self.unpads:
            self._taken.enter_context(unpadded_attention(self._strategy.module))

    def close(self) -> None:
        """Restores the attention that the network had before ``take``."""
        self._taken.close()
