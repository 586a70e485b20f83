"""The lean layers beside weights in four or eight bits.

Imported only where it is used: it needs bitsandbytes, which takes a second to import. A packed layer's outputs have the
type of its inputs, where autocast gives a plain layer's its own: so inputs are cast here.
"""

from __future__ import annotations

from typing import Any

from peft.tuners.adalora.bnb import SVDLinear4bit, SVDLinear8bitLt
from peft.tuners.hira.bnb import Linear4bit as HiRA4bit
from peft.tuners.hira.bnb import Linear8bitLt as HiRA8bit
from peft.tuners.ia3.bnb import Linear4bit as IA3On4bit
from peft.tuners.ia3.bnb import Linear8bitLt as IA3On8bit
from peft.tuners.lora.bnb import Linear4bit as LoRA4bit
from peft.tuners.lora.bnb import Linear8bitLt as LoRA8bit
from peft.tuners.lora.dora import DoraLinearLayer
from peft.tuners.road.bnb import Linear4bit as RoAd4bit
from peft.tuners.road.bnb import Linear8bitLt as RoAd8bit
from torch import Tensor, nn

from peft_lightning.methods.low_rank_update import forward_lean
from peft_lightning.methods.rotations import rotated_outputs
from peft_lightning.methods.scaling import narrowly_scaled
from peft_lightning.methods.shared_cast import cast_once
from peft_lightning.methods.singular_triplets import with_triplets
from peft_lightning.methods.unpacked_again import UnpackingDoRA, modulated


class LeanLoRA4bit(LoRA4bit):
    """LoRA's layer beside four bits."""

    makes_inputs_again = True

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with the update, (…, outputs)."""
        return forward_lean(self, super().forward, x, *args, **named)


class LeanLoRA8bit(LoRA8bit):
    """LoRA's layer beside eight bits."""

    makes_inputs_again = True

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with the update, (…, outputs)."""
        return forward_lean(self, super().forward, x, *args, **named)


class LeanSVD4bit(SVDLinear4bit):
    """AdaLoRA's layer beside four bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return with_triplets(self, super().forward, x, *args, **named)


class LeanSVD8bit(SVDLinear8bitLt):
    """AdaLoRA's layer beside eight bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return with_triplets(self, super().forward, x, *args, **named)


class LeanRoAd4bit(RoAd4bit):
    """RoAd's layer on four bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        x = cast_once(x)
        # PEFT's own, which a compiler takes, widens them to 32 bits and leaves them there.
        return rotated_outputs(self, super().forward, x, *args, **named).to(x.dtype)


class LeanRoAd8bit(RoAd8bit):
    """RoAd's layer on eight bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        x = cast_once(x)
        # PEFT's own, which a compiler takes, widens them to 32 bits and leaves them there.
        return rotated_outputs(self, super().forward, x, *args, **named).to(x.dtype)


class LeanHiRA4bit(HiRA4bit):
    """HiRA's layer beside four bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return modulated(self, super().forward, x, *args, **named)


class LeanHiRA8bit(HiRA8bit):
    """HiRA's layer beside eight bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return modulated(self, super().forward, x, *args, **named)


class NarrowScaling4bit(IA3On4bit):
    """IA3's layer on four bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return narrowly_scaled(self, super().forward, cast_once(x), *args, **named)


class NarrowScaling8bit(IA3On8bit):
    """IA3's layer on eight bits."""

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs, (…, outputs)."""
        return narrowly_scaled(self, super().forward, cast_once(x), *args, **named)


LEAN: dict[type[nn.Module], type[nn.Module]] = {
    DoraLinearLayer: UnpackingDoRA,
    HiRA4bit: LeanHiRA4bit,
    HiRA8bit: LeanHiRA8bit,
    RoAd4bit: LeanRoAd4bit,
    RoAd8bit: LeanRoAd8bit,
    SVDLinear4bit: LeanSVD4bit,
    SVDLinear8bitLt: LeanSVD8bit,
}
NARROW: dict[type[nn.Module], type[nn.Module]] = {IA3On4bit: NarrowScaling4bit, IA3On8bit: NarrowScaling8bit}
LOW_RANK: dict[type[nn.Module], type[nn.Module]] = {LoRA4bit: LeanLoRA4bit, LoRA8bit: LeanLoRA8bit}
