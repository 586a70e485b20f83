"""LoRA's layers, which compute their update with fewer kernels than PEFT's own, and keep less.

``makes_inputs_again`` tells whoever computes their inputs that they are not kept where they say how they were made.
"""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear
from torch import Tensor

from peft_lightning.methods.low_rank_update import forward_lean


class LeanLoRA(Linear):
    """A LoRA layer beside a linear layer."""

    makes_inputs_again = True

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with the update, (…, outputs)."""
        return forward_lean(self, super().forward, x, *args, **named)
