"""AdaLoRA's own part of training: its penalty, its reallocation of ranks, and what a resume needs of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from peft import AdaLoraConfig
    from peft.tuners.adalora import AdaLoraModel, RankAllocator

# What the allocator remembers of every weight: its sensitivity, and the running means of that and of its uncertainty.
_MEMORIES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
# Until the length of the run is known.
UNKNOWN_LENGTH = 2**31 - 1


def orthogonality(model: nn.Module) -> Tensor:
    """Computes AdaLoRA's penalty (Zhang et al. 2023, arXiv:2303.10512, equation 4) as PEFT weighs it.

    PEFT adds it to ``output.loss`` alone, in evaluation too; a loss computed from logits never sees it.

    Args:
        model: The PEFT model.

    Returns:
        ``orth_reg_weight`` times the mean Frobenius distance of the singular vectors' products from the identity.
    """
    distances: list[Tensor] = []
    for name, matrix in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            product = matrix @ matrix.T if "lora_A" in name else matrix.T @ matrix
            distances.append(torch.linalg.norm(product - torch.eye(len(product), device=product.device)))
    return _config(model).orth_reg_weight * torch.stack(distances).mean()


def set_length(model: nn.Module, total_steps: int) -> None:
    """Sets the schedule's length.

    Args:
        model: The PEFT model.
        total_steps: Optimiser steps of the whole run.

    Raises:
        UserError: If no steps are left for the reallocation.
    """
    config = _config(model)
    if config.tinit >= total_steps - config.tfinal:
        raise UserError(
            f"AdaLoRA reallocates ranks after its first {config.tinit} steps and before its last {config.tfinal}, and "
            f"this run has {total_steps}: choose smaller tinit and tfinal, or train longer"
        )
    config.total_step = total_steps


def allocate(model: nn.Module, step: int) -> None:
    """Reallocates ranks by the gradients of the step just taken.

    Args:
        model: The PEFT model; its weights have gradients.
        step: The number of optimiser steps so far.
    """
    memory = _allocator(model)
    device = next(parameter.device for parameter in model.parameters() if parameter.requires_grad)
    for name in _MEMORIES:  # a resumed run's were restored on the CPU
        kept = getattr(memory, name)
        setattr(memory, name, {key: value.to(device) for key, value in kept.items()})
    _tuner(model).update_and_allocate(step)  # type: ignore[no-untyped-call]


def final_ranks(model: nn.Module) -> dict[str, int]:
    """Returns the rank that each adapted layer has kept, by its name in the encoder."""
    pattern = _config(model).rank_pattern or {}
    return {name.partition(".lora_E")[0]: int(sum(_flat(kept))) for name, kept in sorted(pattern.items())}


def state(model: nn.Module) -> dict[str, Any]:
    """Returns what the reallocation goes on from: plain values and tensors on the CPU."""
    memory = _allocator(model)
    remembered = {
        name: {key: value.cpu().clone() for key, value in getattr(memory, name).items()} for name in _MEMORIES
    }
    pattern = {name: _flat(kept) for name, kept in (_config(model).rank_pattern or {}).items()}
    return {"memory": remembered, "rank_pattern": pattern}


def restore(model: nn.Module, saved: dict[str, Any]) -> None:
    """Restores what ``state`` returned."""
    for name in _MEMORIES:
        setattr(_allocator(model), name, dict(saved["memory"][name]))
    _config(model).rank_pattern = saved["rank_pattern"] or None


def _flat(kept: Any) -> list[bool]:
    values = kept.view(-1).tolist() if isinstance(kept, Tensor) else kept
    return [bool(value) for value in values]


def _tuner(model: nn.Module) -> AdaLoraModel:
    return cast("AdaLoraModel", model.base_model)


def _allocator(model: nn.Module) -> RankAllocator:
    return _tuner(model).rankallocator


def _config(model: nn.Module) -> AdaLoraConfig:
    return cast("AdaLoraConfig", _tuner(model).peft_config["default"])
