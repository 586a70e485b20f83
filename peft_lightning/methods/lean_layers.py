"""Puts lean layers in the place of PEFT's: LoRA's and DoRA's beside any weights, those of all types beside packed ones.

``capturable_layers`` has the places of other types' layers beside weights in floats.
"""

from __future__ import annotations

from peft.tuners.lora.dora import DoraLinearLayer
from peft.tuners.lora.layer import Linear
from torch import nn

from peft_lightning.backbone.quantised import is_packed
from peft_lightning.methods.lean_dora import LeanDoRA
from peft_lightning.methods.lean_lora import LeanLoRA


def take_lean_layers(model: nn.Module) -> None:
    """Replaces PEFT's layers by those that run fewer kernels or keep less.

    Args:
        model: The PEFT model; it is changed in place.
    """
    places: dict[type[nn.Module], type[nn.Module]] = {Linear: LeanLoRA, DoraLinearLayer: LeanDoRA}
    if is_packed(model):
        from peft_lightning.methods.packed_layers import LEAN, LOW_RANK

        places |= LEAN | LOW_RANK
    for module in model.modules():
        module.__class__ = places.get(type(module), type(module))
