"""Layers in eight bits that move to another device whole.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitsandbytes.nn.modules import Linear8bitLt
from torch import Tensor, nn


class MovableLinear8bit(Linear8bitLt):
    """A layer of LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339) whose scales move with its weights.

    bitsandbytes moves them in ``to``, which torch calls on the whole model and not on its layers: weights quantised on
    the CPU then meet inputs on the GPU.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MovableLinear8bit:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        weight: Any = self.weight
        # Until the first forward pass the weight holds the scales, and the layer's state afterwards.
        for holder in (weight, self.state):
            if holder.CB is not None:
                holder.CB = weight.data
            if holder.SCB is not None:
                holder.SCB = holder.SCB.to(weight.device)
        return self

    def init_8bit_state(self) -> None:
        """Hands the scales of the weight to the layer's state, which keeps its own where the weight has none.

        PEFT moves the weight to and fro where DoRA unpacks it, and a weight that is moved again has lost its scales.
        """
        before = self.state.SCB
        super().init_8bit_state()  # type: ignore[no-untyped-call]
        if self.state.SCB is None:
            self.state.SCB = before


def make_movable(model: nn.Module) -> None:
    """Puts layers that move whole in the place of bitsandbytes' own.

    Args:
        model: A model just loaded, whose linear layers are quantised; it is changed in place.
    """
    for module in model.modules():
        if type(module) is Linear8bitLt:
            module.__class__ = MovableLinear8bit
