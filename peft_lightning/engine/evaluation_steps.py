"""Evaluation within a training, whose graphs may hold the memory that evaluation needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from peft_lightning.engine.attention import planned_attention
from peft_lightning.engine.capturing import Capturing
from peft_lightning.engine.strategy_view import StrategyView


class EvaluationSteps:
    """Evaluates batches within a training, with the same kernels as a test; where memory is short, it drops the graphs.

    Args:
        strategy: The strategy that runs the steps.
        capturing: The owner of the graphs.
    """

    def __init__(self, strategy: StrategyView, capturing: Capturing) -> None:
        self._strategy = strategy
        self._capturing = capturing
        self.under_way = False
        """Whether a batch is being evaluated, or was being evaluated when the run broke off."""

    def step(self, own: Callable[[], Any]) -> Any:
        """Evaluates a batch.

        Args:
            own: Runs the strategy's own evaluation step on this batch.
        """
        self.under_way = True
        with planned_attention(False):
            scored = self._evaluate(own)
        self.under_way = False
        return scored

    def _evaluate(self, own: Callable[[], Any]) -> Any:
        try:
            return own()
        except torch.OutOfMemoryError:
            if not self._capturing.holds_memory:
                raise
        # Outside the except clause nothing holds on to the tensors of the step that failed.
        self._capturing.forget()
        self._strategy.free()
        return own()
