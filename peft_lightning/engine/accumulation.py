"""The batches whose gradients add up to one step, and how much of a batch goes through together."""

from __future__ import annotations

from peft_lightning.engine.micro_batches import Batch, size_of
from peft_lightning.engine.strategy_view import StrategyView


class Accumulation:
    """What the parts of an engine know in common of the step under way.

    Args:
        strategy: what runs the steps.
    """

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self.micro_batch_size: int | None = None
        """Most examples that go through together; None for the whole batch."""
        self.batches: list[Batch] = []
        """What has come since the last update, the present batch included."""
        self.has_gradients = False
        """Whether the present batch's gradients are there."""
        self.lost_gradients = False
        """Whether the gradients of the batches before it have to be computed again."""

    def size_for(self, batch: Batch) -> int:
        """Returns how many examples of a batch go through together.

        Args:
            batch: the batch.
        """
        return min(self.micro_batch_size or size_of(batch), size_of(batch))

    def halve(self) -> int:
        """Halves the micro-batches of the present batch and those to come, and returns their size."""
        self.micro_batch_size = (self.size_for(self.batches[-1]) + 1) // 2
        return self.micro_batch_size

    def lose_gradients(self) -> None:
        """Drops all gradients: a pass that failed may have added to them."""
        for parameter in self._strategy.module.parameters():
            parameter.grad = None
        self.lost_gradients = True
