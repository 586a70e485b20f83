"""LoRA's layers, which compute their update with fewer kernels than PEFT's own, and keep less.

``makes_inputs_again`` tells whoever computes their inputs that they are not kept where they say how they were made.
"""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from peft_lightning.backbone.quantised import is_packed
from peft_lightning.methods.low_rank_update import forward_lean


class LeanLoRA(Linear):
    """A LoRA layer beside a linear layer."""

    makes_inputs_again = True

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with the update, (…, outputs)."""
        return forward_lean(self, super().forward, x, *args, **named)


def take_lean_layers(model: nn.Module) -> None:
    """Replaces PEFT's LoRA layers beside linear layers, also those in four or eight bits.

    Args:
        model: The PEFT model; it is changed in place.
    """
    places: dict[type[nn.Module], type[nn.Module]] = {Linear: LeanLoRA}
    if is_packed(model):
        from peft_lightning.methods.packed_layers import LOW_RANK

        places |= LOW_RANK
    for module in model.modules():
        module.__class__ = places.get(type(module), type(module))
