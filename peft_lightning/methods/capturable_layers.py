"""PEFT's layers without what a CUDA graph cannot hold: copies from the host and values that are read back.

Each computes what PEFT's own layer computes, bit for bit; a class is put in the place of another one's.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModelForSequenceClassification
from peft.tuners.boft.layer import Linear as BOFTLinear
from peft.tuners.fourierft.layer import FourierFTLinear
from peft.tuners.psoft.layer import OrthLayer
from peft.tuners.vblora.layer import Linear as VBLoRALinear
from torch import Tensor, nn


class CapturableBOFT(BOFTLinear):
    """A BOFT layer whose solver does not report to the host."""

    def cayley_batch(self, data: Tensor) -> Tensor:
        """Makes orthogonal matrices of square ones by the Cayley transform.

        Args:
            data: Square matrices, (blocks, size, size).

        Returns:
            Orthogonal matrices of the same shape.
        """
        skew = 0.5 * (data - data.transpose(1, 2))
        return _cayley(skew).to(data.dtype)


class CapturablePSOFT(OrthLayer):
    """A PSOFT rotation whose solver does not report to the host."""

    def get_matrix(self) -> Tensor:
        """Returns the rotation with its scaling vectors, (rank, rank)."""
        if not self.orth or self.use_cayley_neumann:
            return super().get_matrix()
        skew = self._skew_symmetric()
        rotation = _cayley(-skew.float())
        if self.vector_b is not None:
            rotation = self.vector_b[:, None] * rotation
        if self.vector_a is not None:
            rotation = rotation * self.vector_a[None, :]
        return rotation.to(skew.dtype)


class CapturableVBLoRA(VBLoRALinear):
    """A VB-LoRA layer that does not look for the infinite logits of a checkpoint that this project never writes."""

    def _get_lora_matrices(self, adapter: str, cast_to_fp32: bool = False) -> tuple[Tensor, Tensor]:
        training, self.training = self.training, False
        try:
            matrices: tuple[Tensor, Tensor] = super()._get_lora_matrices(adapter, cast_to_fp32)
            return matrices
        finally:
            self.training = training


class CapturableFourierFT(FourierFTLinear):
    """A FourierFT layer that keeps the places of its coefficients on their device."""

    def get_delta_weight(self, adapter: str) -> Tensor:
        """Computes the update of the weight, (outputs, inputs)."""
        self.indices[adapter] = self.indices[adapter].to(self.fourierft_spectrum[adapter].device)
        delta: Tensor = super().get_delta_weight(adapter)
        return delta


class CapturablePrompts(PeftModelForSequenceClassification):
    """A model with virtual tokens whose mask and numbers are made on its device."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Runs the model on texts and the virtual tokens before them."""
        device = next(self.prompt_encoder.parameters()).device
        for name, tokens in self.prompt_tokens.items():
            self.prompt_tokens[name] = tokens.to(device)
        with torch.device(device):
            return super().forward(*inputs, **named)  # type: ignore[no-untyped-call]


_PLACES: dict[type[nn.Module], type[nn.Module]] = {
    BOFTLinear: CapturableBOFT,
    FourierFTLinear: CapturableFourierFT,
    OrthLayer: CapturablePSOFT,
    VBLoRALinear: CapturableVBLoRA,
}


def make_capturable(model: nn.Module) -> None:
    """Replaces the layers that a CUDA graph cannot hold; FRoD's and WaveFT's stay as they are.

    Args:
        model: The PEFT model; it is changed in place.
    """
    for module in model.modules():
        module.__class__ = _PLACES.get(type(module), type(module))
    if isinstance(model, PeftModelForSequenceClassification) and model.active_peft_config.is_prompt_learning:
        model.__class__ = CapturablePrompts


def _cayley(skew: Tensor) -> Tensor:
    """Computes (I + S)⁻¹ (I − S) from the right; what is no number shows in the loss."""
    identity = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype).expand(skew.shape)
    # solve() waits for the device to tell whether the matrix was singular, which I + S never is.
    result: Tensor = torch.linalg.solve_ex(identity + skew, identity - skew, left=False).result
    return result
