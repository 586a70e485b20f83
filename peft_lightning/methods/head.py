"""Training of the head alone: how good the pretrained encoder is before any method changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.loading import head_modules
from peft_lightning.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HeadOnly(Method):
    """Trains the head on a frozen encoder, which an adapter has to beat (Peters et al. 2019, arXiv:1903.05987)."""

    name = "head"

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes all but the head, and returns the same model."""
        model.requires_grad_(False)
        for name in head_modules(model):
            model.get_submodule(name).requires_grad_(True)
        return model
