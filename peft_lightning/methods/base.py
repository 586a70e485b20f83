"""What every fine-tuning method is: a way to load the backbone and a way to adapt it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from peft_lightning.backbone.loading import Backbone, loading_notes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Method(ABC):
    """A fine-tuning method: which weights of a pretrained encoder are trained, and in what form.

    The head is always trained: the classification layers, and any module that the checkpoint did not hold.
    """

    name: ClassVar[str]
    """The name in tables and directories; the stem of the method's file and of its recipe."""

    def __init__(self) -> None:
        """Start without notes."""
        self.notes: list[str] = []
        """What had to be chosen differently from what was asked: printed and recorded."""

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments this method was made with, as plain values: what a checkpoint is compared by."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(value) if isinstance(value, list | tuple) else value for name, value in values.items()}

    def load_backbone(self, backbone: Backbone, num_labels: int) -> PreTrainedModel:
        """Load the pretrained encoder in the form this method needs it.

        Args:
            backbone: which encoder, and how its attention and its arithmetic run.
            num_labels: number of classes.

        Returns:
            The model on the CPU, with a head for `num_labels` classes.

        Raises:
            UserError: the encoder cannot be loaded.
        """
        model = backbone.load(num_labels)
        self.notes += loading_notes(model)
        return model

    @abstractmethod
    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Make the model trainable in this method's way.

        Args:
            model: what `load_backbone` returned; it is changed in place.

        Returns:
            The model to train: exactly the weights to be trained require gradients.

        Raises:
            UserError: the method does not fit the architecture.
        """
