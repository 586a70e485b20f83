"""HiRA's and DoRA's layers beside packed weights, which unpack a weight again rather than keep it.

PEFT's own keep every adapted weight in 16 or 32 bits until the backward pass, which is what packing was to save: 24
layers of roberta-base in bf16 are 27 MiB, the adapted half of the attention of 7 billion weights is 2 GiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft.utils.integrations import dequantize_bnb_weight
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from peft_lightning.methods.lean_dora import LeanDoRA
from peft_lightning.methods.shared_cast import autocast_dtype, cast_once


def modulated(layer: Any, own: Callable[..., Tensor], x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Computes what a HiRA layer does beside a packed weight.

    Args:
        layer: The layer.
        own: PEFT's own forward pass, for the states that are not trained in.
        x: The inputs, (…, inputs).
        args: Further arguments of the forward pass.
        named: Further arguments by name.

    Returns:
        The outputs with those of the modulated weight added, (…, outputs).
    """
    if layer.disable_adapters or layer.merged or named.get("adapter_names") is not None:
        return own(x, *args, **named)
    named.pop("adapter_names", None)
    x = cast_once(x)
    outputs: Tensor = layer.base_layer(x, *args, **named)
    for name in layer.active_adapters:
        if name not in layer.hira_A:
            continue
        right, left = layer.hira_A[name], layer.hira_B[name]
        inputs = x if autocast_dtype(x) is not None else layer._cast_input_dtype(x, right.dtype)
        weight = _Modulated.apply(left @ right, layer.get_base_layer())  # type: ignore[no-untyped-call]
        outputs = outputs + functional.linear(layer.hira_dropout[name](inputs), weight).to(outputs.dtype)
    return outputs


class UnpackingDoRA(LeanDoRA):
    """DoRA's part of a layer; with dropout its product with a packed weight keeps the packed weight alone."""

    def weight_of(self, layer: nn.Module, result: Tensor | None) -> Tensor | None:
        """Returns the weight of the frozen layer, (outputs, inputs); None where PEFT's own pass is the one to take.

        Args:
            layer: The frozen layer.
            result: Its outputs, where there is no dropout.
        """
        if not isinstance(layer, Linear4bit | Linear8bitLt):
            return super().weight_of(layer, result)
        return _unpacked(layer) if result is None else None

    def product(self, x: Tensor, weight: Tensor, layer: nn.Module) -> Tensor:
        """Returns the inputs times the weight, (…, outputs).

        Args:
            x: The inputs, (…, inputs).
            weight: The weight, in the type of the inputs, (outputs, inputs).
            layer: The frozen layer.
        """
        if not isinstance(layer, Linear4bit | Linear8bitLt):
            return super().product(x, weight, layer)
        product: Tensor = _Product.apply(cast_once(x), weight, layer)  # type: ignore[no-untyped-call]
        return product


def _unpacked(layer: Any) -> Tensor:
    """Unpacks a layer's weight, (outputs, inputs)."""
    weight = layer.weight
    if isinstance(layer, Linear4bit):
        # PEFT's own function asks for the weight's class, in which torch.compile loses itself.
        return dequantize_4bit(weight.view(-1, 1), weight.quant_state)
    return dequantize_bnb_weight(weight, layer.state)


class _Modulated(Function):
    """Multiplies a matrix by the weight of a layer, each element by its own."""

    @staticmethod
    def forward(ctx: Any, update: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        return _unpacked(layer) * update

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _unpacked(ctx.layer) * gradient, None


class _Product(Function):
    """Multiplies inputs by a layer's weight, which was unpacked for another use as well."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        return functional.linear(inputs, weight.to(inputs.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ _unpacked(ctx.layer).to(gradient.dtype), None, None
