"""Adds PEFT's adapters to a model whose head is trained whole."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

from peft_lightning.backbone.half_width import is_held_in_bfloat16
from peft_lightning.backbone.loading import head_modules
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


def inject_adapters(model: PreTrainedModel, config: PeftConfig) -> nn.Module:
    """Freezes the model, adds the adapters that the configuration describes, and makes the whole head trainable.

    Args:
        model: What ``load_backbone`` returned; it is changed in place.
        config: A PEFT configuration without task type and ``modules_to_save``: both are set here.

    Returns:
        The PEFT model.

    Raises:
        UserError: PEFT, which matches the ends of names, would train other modules than the head.
    """
    from peft import TaskType, get_peft_model
    from peft.utils import ModulesToSaveWrapper

    from peft_lightning.methods.lean_layers import take_lean_layers

    head = head_modules(model)
    config.task_type = TaskType.SEQ_CLS
    config.modules_to_save = list(head)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # PEFT reads a property that transformers has renamed.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        # It finds out by itself how the weights of GPT-2's layers lie.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False but the target module is `Conv1D`")
        adapted = get_peft_model(model, config)
    widen_trained(adapted)
    take_lean_layers(adapted)
    if is_held_in_bfloat16(model):
        # PEFT widens the input of LoRA's layers to the type of their weights, and autocast narrows it again.
        for module in adapted.modules():
            if getattr(module, "cast_input_dtype_enabled", False):
                module.cast_input_dtype_enabled = False  # type: ignore[assignment]
    wrapped = {name for name, module in model.named_modules() if isinstance(module, ModulesToSaveWrapper)}
    if wrapped != set(head):
        surprise = ", ".join(sorted(wrapped ^ set(head)))
        raise UserError(f"{model.config.model_type}: PEFT takes its head to be other modules than it is ({surprise})")
    return adapted


def widen_trained(model: nn.Module) -> None:
    """Holds what is trained in 32 bits: biases and scales of an encoder in bf16 would lose small steps.

    Args:
        model: The PEFT model; it is changed in place.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype == torch.bfloat16:
            parameter.data = parameter.data.float()
