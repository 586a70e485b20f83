"""What every fine-tuning method is: a way to load the backbone and a way to adapt it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from peft_lightning.backbone.loading import Backbone, loading_notes

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class Method(ABC):
    """A fine-tuning method: which weights of a pretrained encoder are trained, and in what form.

    The head is always trained: the classification layers, and any module that the checkpoint did not hold.
    """

    decided: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the class below that this method decides by itself, so that they are none of its own."""

    def __init__(self) -> None:
        """Start without notes."""
        self.notes: list[str] = []
        """What had to be chosen differently from what was asked: printed and recorded."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in tables and directories; where a file holds one method, the stem of that file and of its recipe.

        A plain class attribute serves; a method that stands for many, each named by its configuration, computes it.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments this method was made with, as plain values: what a checkpoint is compared by."""
        values = {name: getattr(self, name) for name in _arguments(type(self))}
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

    def extra_loss(self, model: nn.Module) -> Tensor | None:
        """Compute what the method adds to the training loss; evaluation never sees it.

        It is part of a step that may be captured: no side effects, no value read back from the device.

        Args:
            model: what `adapt` returned.

        Returns:
            A scalar; None, the default, for a method that regularises nothing.
        """
        return None

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027  most methods have nothing to do here
        """Change the model between two optimiser steps; by default nothing.

        AdaLoRA's ranks, for example, move here (Zhang et al. 2023, arXiv:2303.10512). The gradients are still there,
        unless the step was captured whole.

        Args:
            model: what `adapt` returned.
            step: optimiser steps made so far, this one included.
        """


def _arguments(method: type) -> list[str]:
    """The names of a method's arguments, those that it hands on to the class below included."""
    parameters = inspect.signature(method.__init__).parameters.values()  # type: ignore[misc]
    names = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"]
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        decided: frozenset[str] = getattr(method, "decided", frozenset())
        inherited = _arguments(method.__mro__[1])
        names += [name for name in inherited if name not in names and name not in decided]
    return names
