"""Merges adapters into the weights beside them, so that a plain model remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from torch import nn

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def merge(adapted: nn.Module, name: str) -> PreTrainedModel:
    """Merges all adapters of a model whose layers are not quantised.

    PEFT's own ``merge_and_unload`` raises for most types once the merge is done, at a head of several layers, and for
    some leaves the head wrapped. So the head is unwrapped first, and each layer merged here; a layer within a layer
    comes before the one around it.

    Args:
        adapted: A PEFT model; it is changed in place and of no use afterwards.
        name: The method's name, for the error.

    Returns:
        The model without adapters, as transformers loads it.

    Raises:
        UserError: The adapters cannot be merged.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if not isinstance(adapted, PeftModel):
        return cast("PreTrainedModel", adapted)
    if adapted.active_peft_config.is_prompt_learning:
        raise UserError(
            f"{name} puts trained vectors of its own before the text, which no plain model has a place for:"
            " export it as an adapter"
        )
    model: Any = adapted.get_base_model()
    for place, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            model.set_submodule(place, module.modules_to_save[module.active_adapters[0]])
    layers = {place: module for place, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    for place in sorted(layers, key=lambda place: place.count("."), reverse=True):
        try:
            layers[place].merge()
        except NotImplementedError as error:
            raise UserError(f"PEFT cannot merge {name} into the weights: export it as an adapter") from error
        model.set_submodule(place, _bare(cast("nn.Module", layers[place])))
    if hasattr(model, "peft_config"):
        del model.peft_config
    return cast("PreTrainedModel", model)


def _bare(layer: nn.Module) -> nn.Module:
    """Returns the layer that adapters, one around the other, were put around."""
    while hasattr(layer, "base_layer"):
        layer = cast("nn.Module", layer.base_layer)
    return layer
