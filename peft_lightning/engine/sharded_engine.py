"""The engine of sharded weights: Lightning's own stepping, with gradients that are spread over the processes."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.lightning_engine import LightningEngine
from peft_lightning.engine.sharded_tensors import whole


class ShardedEngine(LightningEngine):
    """Runs steps eager and on whole batches: a process that cut its batch would leave the others waiting."""

    @property
    def notes(self) -> list[str]:
        """That steps are not captured."""
        return ["weights are sharded over the processes: steps run eager, and no CUDA graph captures them"]

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients of all processes, a scalar."""
        return whole(super().gradient_norm(optimizer))
