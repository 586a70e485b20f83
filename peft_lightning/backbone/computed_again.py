"""Activations that say how they were made, so that who would keep one for the backward pass can make it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Recipe:
    """How an activation is made of tensors that are kept anyway.

    Args:
        function: Makes it, to the same bits; it draws nothing at random, and depends on no context such as autocast.
        inputs: The tensors that it is made of.
    """

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]


def with_recipe(activation: Tensor, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Says of an activation how it was made.

    Args:
        activation: The activation.
        function: Makes it again.
        inputs: What it is made of: tensors that the backward pass of its own layer keeps.

    Returns:
        The activation itself.
    """
    # A compiler chooses by itself what to keep. Where there is no backward pass, the inputs need not be held.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        activation.recipe = Recipe(function, inputs)  # type: ignore[attr-defined]
    return activation


def recipe_of(activation: Tensor) -> Recipe | None:
    """Returns how an activation was made; None where nothing says so, and it has to be kept."""
    return getattr(activation, "recipe", None)
