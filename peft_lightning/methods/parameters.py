"""Counts the trained parameters: adapter and head separately, and in percent of the original model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from peft_lightning.backbone.loading import head_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ParameterCounts:
    """The number of parameters that a method trains, and of the original model.

    Args:
        trainable: Parameters that are trained.
        adapter: Trained parameters that a PEFT method added or unfroze in the encoder; 0 in full fine-tuning.
        head: Trained parameters of the classification head and of modules that the checkpoint did not hold.
        total: Parameters of the original model: every 4-bit weight counts as one, adapters do not count.
        trainable_percent: 100 · trainable / total.
    """

    trainable: int
    adapter: int
    head: int
    total: int
    trainable_percent: float


def count_parameters(model: nn.Module) -> ParameterCounts:
    """Counts the parameters of a model that a method adapted.

    Args:
        model: What ``Method.adapt`` returned.

    Returns:
        The counts; ``total`` is that of the model before it was adapted.
    """
    from peft import PeftModel

    if isinstance(model, PeftModel):
        added, head_copies = _added_by_peft(model)
    else:
        added, head_copies = set(), _parameters_of(model, head_modules(cast("PreTrainedModel", model)))
    trainable = head = total = 0
    for parameter in model.parameters():
        count = logical_numel(parameter)
        trainable += count * parameter.requires_grad
        head += count * (parameter.requires_grad and id(parameter) in head_copies)
        total += count * (id(parameter) not in added)
    adapter = trainable - head if isinstance(model, PeftModel) else 0
    return ParameterCounts(trainable, adapter, head, total, 100 * trainable / total)


def trainable_names(model: nn.Module) -> list[str]:
    """Returns the names of the trained parameters, in the model's order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def logical_numel(parameter: nn.Parameter) -> int:
    """Returns the number of weights that a parameter holds: a 4-bit parameter holds two in each byte."""
    quant_state = getattr(parameter, "quant_state", None)
    return int(quant_state.shape.numel()) if quant_state is not None else parameter.numel()


def stored_bytes(parameter: Tensor) -> int:
    """Returns the memory of a parameter in bytes, including the scales and the table of values of a 4-bit one."""
    state = getattr(parameter, "quant_state", None)
    parts = [parameter.data]
    while state is not None:
        parts += [part for part in (state.absmax, state.code, state.offset) if part is not None]
        state = state.state2
    return sum(part.numel() * part.element_size() for part in parts)


def _added_by_peft(model: nn.Module) -> tuple[set[int], set[int]]:
    """Returns the ids of the parameters that PEFT added, and the ids of the head's copies among them."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    added: set[int] = set()
    head_copies: set[int] = set()
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            head_copies |= {id(parameter) for parameter in module.modules_to_save.parameters()}
        elif isinstance(module, BaseTunerLayer):
            # The other ones are frozen, such as the ranks that AdaLoRA divides by.
            added |= _parameters_of(module, (*module.adapter_layer_names, *module.other_param_names))
    for prompt in getattr(model, "prompt_encoder", {}).values():
        added |= {id(parameter) for parameter in prompt.parameters()}
    return added | head_copies, head_copies


def _parameters_of(module: nn.Module, children: Sequence[str]) -> set[int]:
    return {
        id(parameter)
        for name, parameter in module.named_parameters()
        if any(name.startswith(f"{child}.") for child in children)
    }
