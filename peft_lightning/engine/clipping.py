"""Gradient clipping within a captured step, where Lightning would clip between the backward pass and the update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from torch.optim import Optimizer

# As torch's clipping adds it to the norm.
_EPS = 1e-6


@dataclass(frozen=True)
class Clipping:
    """Clips gradients to a norm or a value.

    Args:
        most: The largest norm, or value, of the gradients; None leaves them as they are.
        by_norm: Whether the norm of all gradients is clipped, or each value.
        in_update: Whether torch's fused AdamW clips the norm within its update, in the way it unscales gradients. That
            saves a pass over the gradients; it divides where clipping multiplies, so it rounds differently.
    """

    most: float | None
    by_norm: bool = True
    in_update: bool = False

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        """Clips the gradients of parameters.

        Args:
            parameters: The trained parameters; those without a gradient are left out.

        Returns:
            The norm of all gradients before the clipping, a scalar.
        """
        if self.most and self.by_norm:
            return clip_grad_norm_(parameters, self.most)
        norm = norm_of_gradients(parameters)
        if self.most:
            clip_grad_value_(parameters, self.most)
        return norm

    @contextmanager
    def around_update(self, parameters: Sequence[Tensor], optimizer: Optimizer) -> Iterator[Tensor]:
        """Clips the gradients of parameters, or lets the update within the context clip them.

        Args:
            parameters: The trained parameters.
            optimizer: The optimiser; torch's fused AdamW where ``in_update`` is set.

        Yields:
            The norm of all gradients before the clipping, a scalar.
        """
        if not (self.most and self.by_norm and self.in_update):
            yield self.clip(parameters)
            return
        norm = norm_of_gradients(parameters)
        # torch's gradient scaler leaves its scale in this attribute, in 32 bits whatever the type of the gradients.
        optimizer.grad_scale = ((norm.float() + _EPS) / self.most).clamp(min=1)  # type: ignore[attr-defined]
        try:
            yield norm
        finally:
            del optimizer.grad_scale  # type: ignore[attr-defined]


def norm_of_gradients(parameters: Sequence[Tensor]) -> Tensor:
    """Returns the norm of the gradients of all parameters together, a scalar.

    Args:
        parameters: The trained parameters; those without a gradient are left out.
    """
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
