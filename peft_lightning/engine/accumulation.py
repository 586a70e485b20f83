"""Gradient accumulation: the batches of the step under way, and the size of their micro-batches."""

from __future__ import annotations

from peft_lightning.engine.micro_batches import Batch, size_of
from peft_lightning.engine.step_shares import share_of_step
from peft_lightning.engine.strategy_view import StrategyView


class Accumulation:
    """The state of the step under way, which the parts of an engine share."""

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self.micro_batch_size: int | None = None
        """The most examples in a micro-batch; None for the whole batch."""
        self.batches: list[Batch] = []
        """The batches since the last update, the present one included."""
        self.has_gradients = False
        """Whether the gradients of the present batch have been computed."""
        self.lost_gradients = False
        """Whether the gradients of the batches before it have to be computed again."""
        self.share = 1.0
        """What the loss is multiplied by of the batch whose gradients are computed: see ``share_of_step``."""

    def size_for(self, batch: Batch) -> int:
        """Returns the number of examples in a micro-batch of a batch."""
        return min(self.micro_batch_size or size_of(batch), size_of(batch))

    def weigh(self, batch: Batch) -> float:
        """Sets the share for the gradients of a batch of the step under way, and returns it."""
        self.share = share_of_step(self._strategy.module.trainer, size_of(batch))
        return self.share

    def halve(self) -> int:
        """Halves the micro-batches of this batch and of later ones, and returns their new size."""
        self.micro_batch_size = (self.size_for(self.batches[-1]) + 1) // 2
        return self.micro_batch_size

    def lose_gradients(self) -> None:
        """Drops all gradients: a pass that failed may have added to them."""
        for parameter in self._strategy.module.parameters():
            parameter.grad = None
        self.lost_gradients = True
