"""How a captured step clips its gradients, which Lightning would do between its backward pass and its update."""

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
        most: largest norm, or value, of the gradients; None to leave them.
        by_norm: whether the norm is clipped, or each value.
        in_update: whether torch's fused AdamW clips the norm on its way, as it would unscale gradients: it divides
            where clipping multiplies, so it rounds otherwise, and a pass over the gradients is saved.
    """

    most: float | None
    by_norm: bool = True
    in_update: bool = False

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        """Clips the gradients of parameters.

        Args:
            parameters: those that are trained; the ones without a gradient are left out.

        Returns:
            The norm that all gradients had together.
        """
        if self.most and self.by_norm:
            return clip_grad_norm_(parameters, self.most)
        norm = norm_of_gradients(parameters)
        if self.most:
            clip_grad_value_(parameters, self.most)
        return norm

    @contextmanager
    def around_update(self, parameters: Sequence[Tensor], optimizer: Optimizer) -> Iterator[Tensor]:
        """Clips the gradients of parameters, or has the update inside do so.

        Args:
            parameters: those that are trained.
            optimizer: torch's fused AdamW, where it is to clip.

        Yields:
            The norm that all gradients had together.
        """
        if not (self.most and self.by_norm and self.in_update):
            yield self.clip(parameters)
            return
        norm = norm_of_gradients(parameters)
        # Where torch's own gradient scaler leaves its scale, in 32 bits whatever the gradients are.
        optimizer.grad_scale = ((norm.float() + _EPS) / self.most).clamp(min=1)  # type: ignore[attr-defined]
        try:
            yield norm
        finally:
            del optimizer.grad_scale  # type: ignore[attr-defined]


def norm_of_gradients(parameters: Sequence[Tensor]) -> Tensor:
    """Returns the norm that the gradients of parameters have together.

    Args:
        parameters: those that are trained; the ones without a gradient are left out.
    """
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
