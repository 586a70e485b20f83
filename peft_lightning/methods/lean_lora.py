"""LoRA's layers, which compute their update with fewer kernels than PEFT's own, and keep less.

``makes_inputs_again`` tells whoever computes their inputs that they are not kept where they say how they were made.
"""

from __future__ import annotations

from typing import Any

from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from peft_lightning.methods.low_rank_update import forward_lean


class LeanLoRA(Linear):
    """A LoRA layer beside a linear layer."""

    makes_inputs_again = True

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with the update, (…, outputs)."""
        return forward_lean(self, super().forward, x, *args, **named)


_PLACES: dict[type[nn.Module], type[nn.Module]] = {Linear: LeanLoRA}

if is_bnb_available() and is_bnb_4bit_available():
    from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt

    class LeanLoRA4bit(Linear4bit):
        """A LoRA layer beside a linear layer in four bits."""

        makes_inputs_again = True

        def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
            """Returns the layer's outputs with the update, (…, outputs)."""
            return forward_lean(self, super().forward, x, *args, **named)

    class LeanLoRA8bit(Linear8bitLt):
        """A LoRA layer beside a linear layer in eight bits."""

        makes_inputs_again = True

        def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
            """Returns the layer's outputs with the update, (…, outputs)."""
            return forward_lean(self, super().forward, x, *args, **named)

    _PLACES |= {Linear4bit: LeanLoRA4bit, Linear8bitLt: LeanLoRA8bit}


def take_lean_layers(model: nn.Module) -> None:
    """Replaces PEFT's LoRA layers beside linear layers, also those in four or eight bits.

    Args:
        model: The PEFT model; it is changed in place.
    """
    for module in model.modules():
        module.__class__ = _PLACES.get(type(module), type(module))
