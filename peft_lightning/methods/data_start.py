"""What a start of LoRA that is computed from training data is, and the batches that it is computed from."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

Batch = Mapping[str, Tensor]
# What a start has computed: plain values, and tensors on the CPU.
Computed = dict[str, Any]


@dataclass(frozen=True)
class TrainingSample:
    """Training batches that a start is computed from.

    Args:
        batches: The batches, in a fixed order: ``input_ids``, ``attention_mask`` (batch, length) and ``labels``.
        loss: Computes the training loss from the model and a batch on the device.
        device: Where the model computes.
        context: Makes the context that the model computes in, such as autocast.
        asked: The number of batches asked for; training may have fewer.
    """

    batches: Sequence[Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    device: torch.device
    context: Callable[[], AbstractContextManager[Any]]
    asked: int = 0

    def on_device(self) -> Iterator[dict[str, Tensor]]:
        """Yields the batches on the device, each within the context."""
        for batch in self.batches:
            with self.context():
                yield {name: values.to(self.device) for name, values in batch.items()}

    def inputs(self) -> list[dict[str, Tensor]]:
        """Returns the batches without their labels, on the CPU."""
        return [{name: values for name, values in batch.items() if name != "labels"} for batch in self.batches]


class DataStart(ABC):
    """A start that is computed from training batches by a function of PEFT's."""

    argument: ClassVar[str]
    """The argument of PEFT's configuration that holds the start's own settings."""

    @abstractmethod
    def compute(self, model: PeftModel, sample: TrainingSample) -> Computed:
        """Computes the start.

        Args:
            model: The adapted model on the sample's device, at LoRA's usual start; its weights are left as they are.
            sample: The training batches.

        Raises:
            UserError: If no start comes out of these batches.
        """

    @abstractmethod
    def apply(self, model: PeftModel, computed: Computed) -> None:
        """Gives the adapters their start.

        Args:
            model: The adapted model at LoRA's usual start.
            computed: What ``compute`` returned, or what ``kept`` left of it.
        """

    def kept(self, computed: Computed) -> Computed:
        """Returns what a checkpoint needs of a start, beside the trained weights."""
        return computed

    @abstractmethod
    def same(self, computed: Computed, saved: Computed) -> bool:
        """Tells whether a checkpoint's start builds the model that the present one has built.

        Args:
            computed: The start of the present model.
            saved: What ``kept`` left of the checkpoint's.
        """

    def findings(self, computed: Computed) -> list[str]:
        """Returns what the start has decided, a sentence each."""
        return []


def computed_under(seed: int, start: DataStart, model: PeftModel, sample: TrainingSample) -> Computed:
    """Computes a start without a trace in the random numbers of training.

    Args:
        seed: What dropout and PEFT's decompositions draw under.
        start: The start.
        model: The adapted model; it is moved to the sample's device.
        sample: The training batches.
    """
    model.to(sample.device)
    on_gpu = sample.device.type == "cuda"
    with torch.random.fork_rng(devices=[sample.device] if on_gpu else []), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT, about what is computed here
        torch.manual_seed(seed)
        computed = start.compute(model, sample)
    if on_gpu:
        torch.cuda.empty_cache()
    return {**computed, "batches": len(sample.batches)}


def lora_layers(model: nn.Module) -> dict[str, LoraLayer]:
    """Returns the layers that have an adapter of LoRA's, by their names."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def require_all(name: str, layers: Mapping[str, object], found: Mapping[str, object]) -> None:
    """Refuses a start that leaves layers out.

    Args:
        name: The start, for the error.
        layers: The layers that have an adapter.
        found: Those that have a start.

    Raises:
        UserError: A layer has none.
    """
    missing = [layer for layer in layers if layer not in found]
    if missing or not layers:
        raise UserError(f"{name} can start linear layers alone: leave {', '.join(missing)} out of target_modules")
