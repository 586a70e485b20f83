"""The base class of fine-tuning methods: a method loads the backbone and adapts it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from peft_lightning.backbone.loading import Backbone, loading_notes
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.constructor_arguments import arguments_of, defaults_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from peft_lightning.methods.data_start import TrainingSample


class Method(ABC):
    """A fine-tuning method: which weights of a pretrained encoder are trained, and in what form.

    The head is always trained: the classification layers, and any module that the checkpoint did not hold.
    """

    decided: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the parent class that this method fixes, so that they are none of its own."""
    reads_gradients: bool = False
    """Whether ``after_step`` reads the gradients. A captured step then leaves its update outside the graph."""

    needs_whole_weights: bool = False
    """Whether ``extra_loss`` or ``after_step`` computes with weights, which then cannot be sharded over devices."""
    packs_backbone: bool = False
    """Whether it quantises the backbone itself, so that its weights cannot be sharded either."""
    trains_backbone: bool = False
    """Whether it trains the pretrained weights themselves, in the type that they are held in."""

    def __init__(self) -> None:
        """Starts without notes."""
        self.notes: list[str] = []
        """What was chosen differently from what was asked, a sentence each; printed and recorded."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in tables and directories; where a file holds one method, the stem of that file and of its recipe.

        A plain class attribute is enough. A class that stands for several methods computes the name from its arguments.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that this method was made with, as plain values; checkpoints are compared by them."""
        values = {name: getattr(self, name) for name in arguments_of(type(self))}
        return {name: list(value) if isinstance(value, list | tuple) else value for name, value in values.items()}

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of arguments that the user need not give, as plain values."""
        return {name: value for name, value in defaults_of(type(self)).items() if name in self.settings}

    def form_of(self, backbone: Backbone) -> Backbone:
        """Returns the encoder in the form that this method needs; asked before data are read, so nothing is loaded.

        Args:
            backbone: The encoder in the form that the settings ask for.

        Raises:
            UserError: The method cannot train beside weights in that form.
        """
        return backbone

    def require_means(self) -> None:  # noqa: B027  most build their layers anywhere
        """Refuses layers that cannot be built on this machine; asked before data are read, so nothing is loaded.

        Raises:
            UserError: What they need is missing here.
        """

    def refuse_recomputing(self) -> None:  # noqa: B027  most get the same gradients
        """Refuses to train where activations are computed again in the backward pass; asked before data are read.

        Raises:
            UserError: The method would get no gradients.
        """

    def load_backbone(self, backbone: Backbone, num_labels: int) -> PreTrainedModel:
        """Loads the pretrained encoder in the form that this method needs.

        Args:
            backbone: The encoder, its attention and its precision.
            num_labels: Number of classes.

        Returns:
            The model on the CPU, with a head for ``num_labels`` classes.

        Raises:
            UserError: The encoder cannot be loaded, or not in a form that the method can train.
        """
        model = self.form_of(backbone).load(num_labels)
        self.notes += loading_notes(model)
        return model

    @abstractmethod
    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Makes the model trainable in this method's way.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The model to train: exactly the weights to be trained require gradients.

        Raises:
            UserError: The method does not fit the architecture.
        """

    @property
    def least_steps(self) -> int:
        """The optimiser steps that the method's own schedule needs at least."""
        return 1

    @property
    def former_names(self) -> frozenset[str]:
        """Names under which earlier versions of this program ran the same; their checkpoints still fit."""
        return frozenset()

    def rate_factor(self, name: str, parameter: nn.Parameter) -> float:
        """Returns what the learning rate of a trained weight is multiplied by; the schedule keeps the ratio.

        Args:
            name: Its name in what ``adapt`` returned.
            parameter: The weight.
        """
        return 1.0

    @property
    def batches_to_start_from(self) -> int:
        """The number of training batches that the method's start is computed from; 0, the default, for none."""
        return 0

    def compute_start(self, model: nn.Module, sample: TrainingSample) -> dict[str, Any]:
        """Computes from training batches what the adapters start from; called once, in one process.

        Args:
            model: What ``adapt`` returned; its weights are left as they are.
            sample: As many batches as ``batches_to_start_from``, or all there are.

        Returns:
            Plain values, and tensors on the CPU.

        Raises:
            UserError: No start comes out of these batches.
        """
        return {}

    def start_from(self, model: nn.Module, computed: dict[str, Any]) -> None:  # noqa: B027  most need no data
        """Gives the adapters their start; called in every process, before the optimiser is made.

        Args:
            model: What ``adapt`` returned.
            computed: What ``compute_start`` returned.
        """

    def before_training(self, model: nn.Module, total_steps: int) -> None:  # noqa: B027  most have no schedule
        """Tells the method how long the run is; called before the first step, in a resumed run too.

        Args:
            model: What ``adapt`` returned.
            total_steps: Optimiser steps of the whole run.

        Raises:
            UserError: The run is too short for the method's own schedule.
        """

    def extra_loss(self, model: nn.Module) -> Tensor | None:
        """Computes what the method adds to the training loss; evaluation does not include it.

        The step may be captured as a CUDA graph: no side effects, no value read back from the device.

        Args:
            model: What ``adapt`` returned.

        Returns:
            A scalar; None, the default, where the method adds nothing.
        """
        return None

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027  most methods have nothing to do here
        """Changes the model between two optimiser steps; by default it does nothing.

        AdaLoRA, for example, reallocates its ranks here (Zhang et al. 2023, arXiv:2303.10512). The gradients are still
        available where ``reads_gradients`` is true.

        Args:
            model: What ``adapt`` returned.
            step: The number of optimiser steps so far, this one included.
        """

    def findings(self, model: nn.Module) -> list[str]:
        """Returns what training has decided beside the weights, a sentence each; they end among the run's notes.

        Args:
            model: What ``adapt`` returned.
        """
        return []

    def state(self, model: nn.Module) -> dict[str, Any]:
        """Returns what a checkpoint needs beside the trained weights: plain values, and tensors on the CPU.

        Args:
            model: What ``adapt`` returned.
        """
        return {}

    def rebuilds_for(self, state: Mapping[str, Any]) -> bool:
        """Prepares for a checkpoint's state; tells whether the model has to be built anew before it is restored.

        Args:
            state: What ``state`` returned when the checkpoint was saved.
        """
        return False

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:  # noqa: B027  most have no state
        """Restores what ``state`` returned.

        Args:
            model: What ``adapt`` returned, with the checkpoint's frozen parts.
            state: What ``state`` returned when the checkpoint was saved.
        """

    def save_adapter(self, model: nn.Module, folder: Path, untrained: Callable[[], nn.Module]) -> None:
        """Saves the adapter, with the head in it, in the form that plain PEFT loads beside the original backbone.

        Args:
            model: What ``adapt`` returned, trained.
            folder: A folder that exists.
            untrained: Makes the same model as it was before training.

        Raises:
            UserError: There is no adapter, or PEFT has no form for it.
        """
        from peft import PeftModel

        if not isinstance(model, PeftModel):
            raise UserError(
                f"{self.name} trains the model's own weights and has no adapter: use ", Setting("format", "merged")
            )
        # Nothing resizes the embeddings here. PEFT would ask the hub for the backbone's size.
        model.save_pretrained(str(folder), save_embedding_layers=False)

    def merged(self, model: nn.Module) -> PreTrainedModel:
        """Returns the model as plain transformers loads it, with what was trained in its own weights.

        Args:
            model: What ``adapt`` returned, trained, on a backbone that is not quantised; it is of no use afterwards.

        Raises:
            UserError: The method's adapters cannot be merged.
        """
        from peft_lightning.methods.merging import merge

        return merge(model, self.name)
