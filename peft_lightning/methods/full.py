"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FullFineTuning(Method):
    """Trains every weight of the encoder and the head (Devlin et al. 2018, arXiv:1810.04805)."""

    name = "full"

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Lets every weight require gradients, and returns the same model."""
        model.requires_grad_(True)
        return model
