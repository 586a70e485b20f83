"""RoAd's and HRA's layers with fewer kernels: as PEFT has them, a step spends most of its time on their small tensors.

Each computes what PEFT's own layer computes, to the rounding of its sums, and keeps its weights under PEFT's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from peft.tuners.hra.layer import HRALinear
from peft.tuners.road.layer import Linear as RoAdLinear
from torch import Tensor
from torch.autograd import Function

from peft_lightning.methods.shared_cast import autocast_dtype


class LeanRoAd(RoAdLinear):
    """A RoAd layer that rotates in three kernels and keeps its outputs once for the backward pass.

    PEFT's own takes 14.9 ms for a step of roberta-base where LoRA's takes 4.6 (H200, batch 8 × 256, bf16-mixed).
    """

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs with their pairs rotated and scaled, (…, outputs)."""
        return rotated_outputs(self, super().forward, x, *args, **named)


def rotated_outputs(layer: Any, own: Callable[..., Tensor], x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Computes what a RoAd layer does, whatever holds its weight.

    Args:
        layer: The layer.
        own: PEFT's own forward pass, for the states that are not trained in.
        x: The inputs, (…, inputs).
        args: Further arguments of the forward pass.
        named: Further arguments by name.

    Returns:
        The outputs with their pairs rotated and scaled, (…, outputs).
    """
    adapters = [name for name in layer.active_adapters if name in layer.road_theta]
    plain = len(adapters) == 1 and named.get("adapter_names") is None
    # A compiler fuses PEFT's own kernels, and cannot trace through these.
    if layer.disable_adapters or layer.merged or not plain or torch.compiler.is_compiling():
        return own(x, *args, **named)
    named.pop("adapter_names", None)
    (name,) = adapters
    outputs = layer.base_layer(x, *args, **named)
    weights = layer.road_theta[name], layer.road_alpha[name]
    rotated = _RotatedPairs.apply(outputs, *weights, layer.variant[name], layer.group_size[name])  # type: ignore[no-untyped-call]
    return cast("Tensor", rotated)


class LeanHRA(HRALinear):
    """An HRA layer that reflects its inputs by two thin products, and leaves the weight as it is.

    PEFT's own multiplies a matrix of inputs × inputs for each reflection and then the weight by it: 14.3 ms for a step
    of roberta-base where LoRA's takes 4.6 (H200, batch 8 × 256, bf16-mixed).
    """

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        """Returns the layer's outputs for the reflected inputs, (…, outputs)."""
        adapters = [name for name in self.active_adapters if name in self.hra_u]
        if self.disable_adapters or self.merged or any(self.hra_apply_GS[name] for name in adapters):
            return super().forward(x, *args, **named)
        reflected = x
        # W·H₁·H₂ is applied to H₁·(H₂·x).
        for name in reversed(adapters):
            reflected = _reflect(reflected, self.hra_u[name])
        return cast("Tensor", self.base_layer(reflected, *args, **named).to(x.dtype))


def _reflect(inputs: Tensor, vectors: Tensor) -> Tensor:
    """Reflects inputs at the planes that vectors stand upright on, the last one's first.

    The chain of reflections I − 2·u·uᵀ is I − C·N⁻¹·Cᵀ, with the columns √2·u in C, and in N the upper triangle of Cᵀ·C
    with a diagonal of ones (the compact WY form, Schreiber and Van Loan 1989; N as in Joffrain et al. 2006).

    Args:
        inputs: (…, inputs).
        vectors: (inputs, reflections).
    """
    with torch.autocast(inputs.device.type, enabled=False):
        vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        columns = vectors / (torch.linalg.vector_norm(vectors, dim=0) * 0.5**0.5)
        # Neither the diagonal of the product nor what is beside its triangle is read.
        products = (columns.mT @ columns).mT
        factors = torch.linalg.solve_triangular(products, columns, upper=False, left=False, unitriangular=True)
    casts = autocast_dtype(inputs)
    dtype = casts or torch.promote_types(inputs.dtype, vectors.dtype)
    rows, factors, columns = (values.to(dtype) for values in (inputs.flatten(0, -2), factors, columns))
    reflected = torch.addmm(rows, rows @ factors, columns.mT, alpha=-1).reshape(inputs.shape)
    # The layer's product would cast them again.
    return reflected if casts else reflected.to(inputs.dtype)


class _RotatedPairs(Function):
    """Makes a₀·x₀ − b₀·x₁ and a₁·x₁ + b₁·x₀ of each pair, where a = α·cos θ and b = α·sin θ.

    A group's first half holds the x₀, its second half the x₁. ``road_1`` has one a and one b for both.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, angles: Tensor, scales: Tensor, variant: str, group_size: int) -> Tensor:
        ctx.variant, ctx.half = variant, group_size // 2
        angle, scale = (_by_column(values, variant, ctx.half) for values in (angles, scales))
        cosine, sine = angle[0].cos(), angle[1].sin()
        a, b = scale[0] * cosine, scale[1] * sine
        ctx.save_for_backward(outputs, angles, scales, cosine, sine, a, b)
        return _rotate(_in_halves(outputs, ctx.half), a, _both(b)).reshape(outputs.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        outputs, angles, scales, cosine, sine, a, b = ctx.saved_tensors
        by_output = _in_halves(gradient, ctx.half).to(torch.promote_types(gradient.dtype, a.dtype))
        outputs_gradient = None
        if ctx.needs_input_grad[0]:
            first, second = _both(b)
            back = _rotate(by_output, a, (second, first), sign=-1, dtype=outputs.dtype)  # by the transposed matrices
            outputs_gradient = back.reshape(gradient.shape)
        pairs = _in_halves(outputs, ctx.half)
        products = by_output.new_empty(2, *by_output.shape)
        torch.mul(by_output, pairs, out=products[0])
        torch.mul(by_output[:, :, 0], pairs[:, :, 1], out=products[1, :, :, 0])
        torch.mul(by_output[:, :, 1], pairs[:, :, 0], out=products[1, :, :, 1])
        by_a, by_b = products.sum(1)
        by_b[:, 0].neg_()
        angle, scale = (_by_column(values, ctx.variant, ctx.half) for values in (angles, scales))
        if ctx.variant == "road_4":
            by_scale = torch.stack([by_a * cosine, by_b * sine], 1)
            by_angle = torch.stack([-by_a * scale[0] * angle[0].sin(), by_b * scale[1] * angle[1].cos()], 1)
        else:
            if ctx.variant == "road_1":
                by_a, by_b = by_a.sum(1, keepdim=True), by_b.sum(1, keepdim=True)
            by_scale = (by_a * cosine).addcmul_(by_b, sine)
            by_angle = (by_b * cosine).addcmul_(by_a, sine, value=-1).mul_(scale[0])
        weights = (by_angle.reshape(angles.shape).to(angles.dtype), by_scale.reshape(scales.shape).to(scales.dtype))
        return outputs_gradient, *weights, None, None


def _by_column(values: Tensor, variant: str, half: int) -> tuple[Tensor, Tensor]:
    """Views angles or scales as those of a and of b, both (groups, 2 or 1 for both halves, half)."""
    if variant == "road_4":
        first, second = values.reshape(-1, 2, 2, half).unbind(1)
        return first, second
    shared = values.reshape(-1, 1 if variant == "road_1" else 2, half)
    return shared, shared


def _in_halves(outputs: Tensor, half: int) -> Tensor:
    """Views outputs as (tokens, groups, 2, half)."""
    return outputs.reshape(-1, outputs.shape[-1] // (2 * half), 2, half)


def _both(b: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the b of the first and of the second half, (groups, half)."""
    return b[:, 0], b[:, -1]


def _rotate(
    pairs: Tensor, a: Tensor, b: tuple[Tensor, Tensor], sign: int = 1, dtype: torch.dtype | None = None
) -> Tensor:
    """Rotates pairs, (tokens, groups, 2, half); products are summed in the weights' precision and rounded once."""
    scaled, rotated = pairs * a, torch.empty_like(pairs, dtype=dtype)
    # Without `out`, autocast would cast the factors first, and the rounding would be a kernel of its own.
    torch.addcmul(scaled[:, :, 0], pairs[:, :, 1], b[0], value=-sign, out=rotated[:, :, 0])
    torch.addcmul(scaled[:, :, 1], pairs[:, :, 0], b[1], value=sign, out=rotated[:, :, 1])
    return rotated
