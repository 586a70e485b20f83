"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FullFineTuning(Method):
    """Train every weight of the encoder and the head (Devlin et al. 2018, arXiv:1810.04805)."""

    name = "full"

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Let every weight require gradients.

        Args:
            model: what `load_backbone` returned.

        Returns:
            The same model.
        """
        model.requires_grad_(True)
        return model
