"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from peft_lightning.backbone.loading import Backbone


class FullFineTuning(Method):
    """Trains every weight of the encoder and the head (Devlin et al. 2018, arXiv:1810.04805)."""

    name = "full"
    trains_backbone = True

    def form_of(self, backbone: Backbone) -> Backbone:
        """Refuses quantised weights, which cannot be trained."""
        if backbone.quantisation is not None:
            raise UserError(
                f"full fine-tuning cannot train weights in {backbone.quantisation.bits}: leave ",
                Setting("model.quantization"),
                " out, or choose a method that freezes the encoder",
            )
        return backbone

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Lets every weight require gradients, and returns the same model."""
        model.requires_grad_(True)
        return model
