"""Layers in eight bits that move to another device whole.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable

from bitsandbytes.nn.modules import Linear8bitLt
from torch import Tensor, nn


class MovableLinear8bit(Linear8bitLt):
    """A layer of LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339) whose scales move with its weights.

    bitsandbytes moves them in ``to``, which torch calls on the whole model and not on its layers: weights quantised on
    the CPU then meet inputs on the GPU.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MovableLinear8bit:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.state.CB = self.weight.data
        assert self.state.SCB is not None
        self.state.SCB = self.state.SCB.to(self.weight.device)
        return self


def make_movable(model: nn.Module) -> None:
    """Puts layers that move whole in the place of bitsandbytes' own.

    Args:
        model: A model just loaded, whose linear layers are quantised; it is changed in place.
    """
    for module in model.modules():
        if type(module) is Linear8bitLt:
            module.__class__ = MovableLinear8bit
            module.init_8bit_state()  # type: ignore[no-untyped-call]
