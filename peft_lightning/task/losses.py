"""Training losses, weighted, focal or smoothed; without side effects, so that a CUDA graph can capture their step."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = tuple[float, ...]

# 1 - p of an answer that is certain: its power would have no gradient below.
_LEAST = 1e-12


def loss_of_classes(
    logits: Tensor, targets: Tensor, label_smoothing: float, weights: Weights | None, focal_gamma: float
) -> Tensor:
    """Computes the mean cross entropy over the examples, weighted or focal if asked.

    Args:
        logits: Outputs, shape (batch, classes).
        targets: Classes, shape (batch,).
        label_smoothing: Share of the target's probability that is spread over all classes, in [0, 1).
        weights: What each class counts; None for the same.
        focal_gamma: Exponent of the focal loss; 0 for none.

    Returns:
        The loss, a scalar.
    """
    if weights is None and not focal_gamma:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    weight = None if weights is None else constant(weights, logits.device)
    if not focal_gamma:
        return F.cross_entropy(logits, targets, weight, reduction="none", label_smoothing=label_smoothing).mean()
    losses = focal_cross_entropy(logits, targets, focal_gamma)
    return (losses if weight is None else losses * weight[targets]).mean()


def loss_of_sets(
    logits: Tensor, targets: Tensor, weights: tuple[Weights, Weights] | None, focal_gamma: float
) -> Tensor:
    """Computes the mean binary cross entropy over examples and labels, weighted or focal if asked.

    Args:
        logits: Outputs, shape (batch, labels).
        targets: 1 where an example has the label, else 0, shape (batch, labels).
        weights: What an example counts for a label that it has, and for one that it lacks; None for the same.
        focal_gamma: Exponent of the focal loss; 0 for none.

    Returns:
        The loss, a scalar.
    """
    wanted = targets.float()
    if focal_gamma:
        losses = focal_binary_cross_entropy(logits, wanted, focal_gamma)
    else:
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if weights is not None:
        having, lacking = (constant(side, logits.device) for side in weights)
        losses = losses * torch.where(wanted > 0, having, lacking)
    return losses.mean()


def focal_cross_entropy(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Computes the focal loss of each example (Lin et al. 2017, arXiv:1708.02002).

    Args:
        logits: Outputs, shape (batch, classes).
        targets: Classes, shape (batch,).
        gamma: How much less an example counts whose class is probable already; 0 is the cross entropy.

    Returns:
        Losses, shape (batch,).
    """
    log_p = logits.log_softmax(dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return -_modulated(log_p, gamma) * log_p


def focal_binary_cross_entropy(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Computes the focal loss of each label of each example.

    Args:
        logits: Outputs, shape (batch, labels).
        targets: 1 where an example has the label, else 0, shape (batch, labels).
        gamma: How much less a label counts that is right already; 0 is the binary cross entropy.

    Returns:
        Losses, shape (batch, labels).
    """
    log_p = F.logsigmoid(torch.where(targets > 0, logits, -logits))
    return -_modulated(log_p, gamma) * log_p


def _modulated(log_p: Tensor, gamma: float) -> Tensor:
    return (-torch.expm1(log_p)).clamp_min(_LEAST) ** gamma


def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Returns fixed numbers as a tensor on a device; it is made once, because a capture allows no copy to a GPU.

    Args:
        values: The numbers.
        device: The device.
    """
    return _constant(values, str(device))


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: str) -> Tensor:
    # A tensor made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device)
