"""Norms and gates of decoders that keep less for the backward pass than those of transformers."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from peft_lightning.backbone.computed_again import with_recipe

# Those of transformers that compute as Llama's do.
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm", "SmolLM3RMSNorm")
_GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "SmolLM3MLP")
# Below it launching a kernel more for each layer takes longer than what it saves is worth.
_WIDE = 2048
# Of rows, whose gradients are computed one piece after the other: 74 MiB that a layer of 7 billion weights needs beside
# its activations become 19.
_PIECES = 4


class HalfWidthRMSNorm(nn.Module):
    """An RMS norm (Zhang and Sennrich 2019, arXiv:1910.07467) in bf16 that keeps its input alone.

    transformers' takes six kernels and keeps two copies in 32 bits. The kernel sums in 32 bits, whatever the type of
    its input, and rounds once where transformers' rounds twice.
    """

    weight: nn.Parameter
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalises activations.

        Args:
            hidden_states: The activations, shape (batch, length, width), in any floating point type.

        Returns:
            The normalised activations, the same shape, in bf16.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            given, weight = hidden_states.to(torch.bfloat16), self.weight.to(torch.bfloat16)
            return with_recipe(self._norm(given, weight), self._norm, given, weight)

    def _norm(self, given: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(given, weight.shape, weight, self.variance_epsilon)


class ThriftyGatedLayer(nn.Module):
    """A gated feed-forward layer (SwiGLU, Shazeer 2020, arXiv:2002.05202) that computes its activation twice.

    A third of what the layer would keep is not kept: 74 MiB in each layer of 7 billion weights, of 8 × 256 tokens.
    """

    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer, to the same bits as transformers'.

        Args:
            x: The activations, shape (batch, length, width).

        Returns:
            The result, the same shape.
        """
        gate, up = self.gate_proj(x), self.up_proj(x)
        # Adapters in 32 bits may widen one of them outside autocast. A compiler chooses by itself what to keep.
        if gate.dtype != up.dtype or torch.compiler.is_compiling():
            return cast(Tensor, self.down_proj(_silu_product(gate, up)))
        gate, up = _Kept.apply(gate, up)  # type: ignore[no-untyped-call]
        product = _SiluProduct.apply(gate, up)  # type: ignore[no-untyped-call]
        if getattr(self.down_proj, "makes_inputs_again", False):
            product = with_recipe(product, _silu_product, gate, up)
        # Where the backward pass computes them again, they need not be held while the product is used.
        del gate, up
        return cast(Tensor, self.down_proj(product))


class _Kept(torch.autograd.Function):
    """Keeps gate and up, both of one type, and computes their gradients of that of silu(gate) × up.

    It is apart from the product, so that where activations are computed again that ends before the product, if what
    follows keeps nothing. Its backward pass writes over what it has kept, which nothing else reads by then, and needs a
    piece of their size beside them. A second backward pass ends in torch's error, not in other gradients.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(gate, up)
        ctx.set_materialize_grads(False)
        return gate.view_as(gate), up.view_as(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, Tensor]:
        given = [tensor.contiguous().flatten(0, -2) for tensor in (*ctx.saved_tensors, gradient)]
        for gate, up, by_product in zip(*(tensor.tensor_split(_PIECES) for tensor in given), strict=True):
            by_up = F.silu(gate).mul_(by_product)
            torch.ops.aten.silu_backward.grad_input(up.mul_(by_product), gate, grad_input=gate)
            up.copy_(by_up)
        by_gate, by_up, _ = (tensor.view(gradient.shape) for tensor in given)
        return by_gate, by_up


class _SiluProduct(torch.autograd.Function):
    """silu(gate) × up of what ``_Kept`` returned; it hands on its own gradient in the place of that of gate."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        return _silu_product(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _silu_product(gate: Tensor, up: Tensor) -> Tensor:
    activated = F.silu(gate)
    return activated * up if torch.is_grad_enabled() else activated.mul_(up)


def take_narrow_layers(model: nn.Module, width: int) -> None:
    """Takes these norms, and in a wide model these gates, in the place of those of transformers.

    Args:
        model: A decoder in bf16, before adapters are added; it is changed in place. Other models are left as they are.
        width: The width of its layers.
    """
    for module in model.modules():
        kind = type(module)
        if kind.__name__ in _NORMS:
            _take(module, HalfWidthRMSNorm)
        elif kind.__name__ in _GATED and _is_silu(module.act_fn) and width >= _WIDE:
            _take(module, ThriftyGatedLayer)


def restore_layers(model: nn.Module) -> None:
    """Takes the layers of transformers again.

    Args:
        model: A model that ``take_narrow_layers`` may have changed.
    """
    for module in model.modules():
        if isinstance(module, HalfWidthRMSNorm | ThriftyGatedLayer):
            module.__class__ = cast(type[Any], module.taken_from)


def _take(module: nn.Module, kind: type[nn.Module]) -> None:
    module.taken_from = type(module)  # type: ignore[assignment]
    module.__class__ = kind


def _is_silu(activation: Any) -> bool:
    from transformers.activations import ACT2FN

    return isinstance(activation, nn.SiLU | type(ACT2FN["silu"]))
