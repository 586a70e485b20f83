"""Evaluation beside captured steps, whose graphs may hold the memory that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from peft_lightning.engine.attention import planned_attention
from peft_lightning.engine.capturing import Capturing
from peft_lightning.engine.strategy_view import StrategyView


class EvaluationSteps:
    """Evaluates batches within a training by the kernels of a test; where there is no room, without the graphs.

    Args:
        strategy: what runs the steps.
        capturing: what holds the graphs.
    """

    def __init__(self, strategy: StrategyView, capturing: Capturing) -> None:
        self._strategy = strategy
        self._capturing = capturing
        self.under_way = False
        """Whether a batch is being evaluated, or was when the run broke off."""

    def step(self, own: Callable[[], Any]) -> Any:
        """Evaluates a batch.

        Args:
            own: the strategy's own step, on this batch.
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
        # Out here nothing holds on to the tensors of the step that failed.
        self._capturing.forget()
        self._strategy.free()
        return own()
