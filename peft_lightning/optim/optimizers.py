"""The optimisers a run can train with, and the schedules of their learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]
ScheduleName = Literal["linear", "cosine", "constant"]

# bitsandbytes keeps the state of smaller weights in 32 bits, and in the GPU's own memory.
LEAST_8BIT = 4096
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def build_optimizer(
    name: OptimizerName,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    learning_rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    device: torch.device | str = "cpu",
    rate_factor: Callable[[str, nn.Parameter], float] | None = None,
) -> tuple[Optimizer, str | None]:
    """Builds the optimiser over the parameters that are trained.

    Args:
        name: ``adamw`` (Loshchilov and Hutter 2017, arXiv:1711.05101), ``adamw_8bit`` (its state in eight bits,
            Dettmers et al. 2021, arXiv:2110.02861) or ``paged_adamw_8bit`` (that state in memory that the GPU
            pages to the host, Dettmers et al. 2023, arXiv:2305.14314).
        named_parameters: As ``nn.Module.named_parameters`` yields them; frozen ones are left out.
        learning_rate: The peak learning rate.
        weight_decay: Decoupled weight decay; biases and the weights of norms have none.
        betas: Decay rates of the two moments.
        eps: Added to the denominator.
        device: Where the parameters will be trained.
        rate_factor: What the learning rate of a parameter is multiplied by, from its name and itself; None for 1.

    Returns:
        The optimiser, and a note where it is not the one asked for.

    Raises:
        UserError: The name is unknown, or bitsandbytes is missing.
    """
    groups = _groups(named_parameters, weight_decay, learning_rate, rate_factor)
    group_defaults: dict[str, Any] = {"lr": learning_rate, "betas": tuple(betas), "eps": eps}
    if name == "adamw":
        return _fused_adamw(groups, group_defaults), None
    if name not in ("adamw_8bit", "paged_adamw_8bit"):
        raise UserError(f"optimizer {name!r} is unknown; use adamw, adamw_8bit or paged_adamw_8bit")
    if find_spec("bitsandbytes") is None:
        raise UserError(f"{name} needs bitsandbytes, which is not installed; use ", Setting("model.optimizer", "adamw"))
    from peft_lightning.optim.stochastic_rounding import RoundedAdamW8bit

    adamw_8bit: Callable[..., Optimizer] = RoundedAdamW8bit
    if name == "adamw_8bit":
        return adamw_8bit(groups, **group_defaults), None
    if torch.device(device).type != "cuda":
        note = "paged_adamw_8bit needs a CUDA GPU: adamw_8bit, which is not paged, is used"
        return adamw_8bit(groups, **group_defaults), note
    from peft_lightning.optim.paged_optimizer import ResumablePagedAdamW8bit

    paged_adamw_8bit: Callable[..., Optimizer] = ResumablePagedAdamW8bit
    return paged_adamw_8bit(groups, **group_defaults), None


def state_bytes(optimizer: Optimizer) -> int:
    """Returns the GPU memory that an optimiser will take for its moments at its first step.

    Args:
        optimizer: An optimiser made by ``build_optimizer``.

    Returns:
        The memory in bytes, without paged state; 0 for an optimiser that has stepped and so has its state already.
    """
    if optimizer.state:
        return 0
    trained: list[nn.Parameter] = [value for group in optimizer.param_groups for value in group["params"]]
    if isinstance(optimizer, AdamW):
        return sum(2 * value.numel() * value.element_size() for value in trained)
    large = 0 if getattr(optimizer, "is_paged", False) else 2
    return sum(value.numel() * (large if value.numel() >= LEAST_8BIT else 8) for value in trained)


def build_schedule(name: ScheduleName, optimizer: Optimizer, warmup_steps: int, total_steps: int) -> LRScheduler:
    """Builds the schedule of the learning rate, to be stepped once per optimiser step.

    Args:
        name: ``linear`` or ``cosine`` (down to 0 at the last step) or ``constant``, each after the warm-up.
        optimizer: The optimiser whose learning rate the schedule sets.
        warmup_steps: Optimiser steps over which the learning rate rises linearly from 0; 0 for no warm-up.
        total_steps: Optimiser steps of the whole run.

    Raises:
        UserError: The name is unknown.
    """
    if name not in _SCHEDULES:
        raise UserError(f"schedule {name!r} is unknown; use one of {', '.join(_SCHEDULES)}")
    from transformers.optimization import get_scheduler

    schedule: LRScheduler = get_scheduler(
        _SCHEDULES[name], optimizer, num_warmup_steps=warmup_steps, num_training_steps=total_steps
    )
    return schedule


def _groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    weight_decay: float,
    learning_rate: float,
    rate_factor: Callable[[str, nn.Parameter], float] | None,
) -> list[dict[str, Any]]:
    """Returns a group for each rate and weight decay, those at the learning rate itself first."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            factor = 1.0 if rate_factor is None else rate_factor(name, parameter)
            groups.setdefault((factor, _is_bias_or_norm(name)), []).append(parameter)
    return [
        {"params": groups[factor, is_spared], "weight_decay": 0.0 if is_spared else weight_decay}
        | ({} if factor == 1 else {"lr": learning_rate * factor})
        for factor, is_spared in sorted(groups, key=lambda group: (group[0] != 1, *group))
    ]


def _is_bias_or_norm(name: str) -> bool:
    *modules, last = name.lower().split(".")
    return "bias" in last or any(module.endswith("norm") for module in modules)


def _fused_adamw(groups: list[dict[str, Any]], group_defaults: dict[str, Any]) -> AdamW:
    optimizer = AdamW(groups, fused=True, **group_defaults)
    # Under autocast Lightning does not clip the gradients of an optimiser that offers to unscale them itself, as a
    # fused one does. Without the offer the scaler unscales them, before the clipping.
    optimizer._step_supports_amp_scaling = False
    return optimizer
