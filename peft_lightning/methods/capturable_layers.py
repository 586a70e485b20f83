"""PEFT's layers without what a CUDA graph cannot hold: copies from the host and values that are read back.

Each computes what PEFT's own layer computes, bit for bit (FRoD's to the rounding of a sum); a class is put in the place
of another one's. So are the lean layers of other files, whose steps are those of PEFT's with fewer kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from peft import PeftModelForSequenceClassification
from peft.tuners.adalora.layer import SVDLinear
from peft.tuners.boft.layer import Linear as BOFTLinear
from peft.tuners.c3a.layer import C3ALinear
from peft.tuners.fourierft.layer import FourierFTLinear
from peft.tuners.frod.layer import Linear as FRoDLinear
from peft.tuners.hra.layer import HRALinear
from peft.tuners.psoft.layer import OrthLayer
from peft.tuners.road.layer import Linear as RoAdLinear
from peft.tuners.vblora.layer import Linear as VBLoRALinear
from peft.tuners.waveft.constants import WAVELET_REDUCTIONS
from peft.tuners.waveft.layer import WaveFTLinear
from peft.tuners.waveft.waverec2d import _construct_2d_filt, _get_filter_tensors
from torch import Tensor, nn
from torch.nn import functional

from peft_lightning.methods.circular_convolution import LeanC3A
from peft_lightning.methods.rotations import LeanHRA, LeanRoAd
from peft_lightning.methods.singular_triplets import LeanSVD


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


class CapturableFRoD(FRoDLinear):
    """A FRoD layer whose sparse factor is dense where it is used.

    A sparse tensor is sorted and its size read back in every forward. In 16 bits PEFT itself multiplies by a dense one.
    """

    def _get_frod_tensors(
        self, adapter: str, *, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        bases, places = cast("Mapping[str, Tensor]", self.frod_V), cast("Mapping[str, Tensor]", self.frod_s_indices)
        u, v = self.frod_U[adapter].to(device, dtype), bases[adapter].to(device, dtype)
        rows, columns = places[adapter].to(device)
        values = self.frod_lambda_s_values[adapter].to(device, dtype)
        dense = values.new_zeros(len(v), len(v)).index_put((rows, columns), values)
        return u, v, dense, self.frod_lambda_l[adapter].to(device, dtype)

    def _sparse_activation_mm(self, z_flat: Tensor, S_sparse: Tensor) -> Tensor:
        return z_flat @ S_sparse.t()


class CapturableWaveFT(WaveFTLinear):
    """A WaveFT layer that keeps its filters, and the places of its coefficients, on their device."""

    _filters: Tensor | None = None

    def get_delta_weight(self, adapter: str) -> Tensor:
        """Computes the update of the weight, (outputs, inputs), by an inverse wavelet transform of the coefficients."""
        spectrum = self.waveft_spectrum[adapter]
        self.waveft_indices[adapter] = self.waveft_indices[adapter].to(spectrum.device)
        if not self.waveft_use_idwt[adapter]:
            delta: Tensor = super().get_delta_weight(adapter)
            return delta
        wavelet = self.waveft_wavelet_family[adapter]
        if self._filters is None or (self._filters.device, self._filters.dtype) != (spectrum.device, spectrum.dtype):
            _, _, low, high = _get_filter_tensors(wavelet, flip=False, device=spectrum.device, dtype=spectrum.dtype)
            self._filters = _construct_2d_filt(lo=low, hi=high)
        rows, columns = self.waveft_indices[adapter]
        height, width = (
            size + reduction + (size + reduction) % 2
            for size, reduction in zip((self.out_features, self.in_features), WAVELET_REDUCTIONS[wavelet], strict=True)
        )
        # Centred in the larger matrix, so that none of them lies outside: PEFT asks the device for those that do.
        placed = rows + (height - self.out_features) // 2, columns + (width - self.in_features) // 2
        dense = spectrum.new_zeros(height, width).index_put(placed, spectrum)
        (upper_left, upper_right), (lower_left, lower_right) = (half.chunk(2, dim=1) for half in dense.chunk(2, dim=0))
        bands = torch.stack([upper_left, upper_right, lower_left, lower_right])[None]
        whole = functional.conv_transpose2d(bands, self._filters, stride=2)[0, 0]
        padding = (2 * self._filters.shape[-1] - 3) // 2
        delta = whole[padding : len(whole) - padding, padding : whole.shape[1] - padding]
        delta = delta * self.waveft_scaling[adapter]
        top, left = (len(delta) - self.out_features) // 2, (delta.shape[1] - self.in_features) // 2
        return delta[top : top + self.out_features, left : left + self.in_features]


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
    C3ALinear: LeanC3A,
    FourierFTLinear: CapturableFourierFT,
    FRoDLinear: CapturableFRoD,
    HRALinear: LeanHRA,
    OrthLayer: CapturablePSOFT,
    RoAdLinear: LeanRoAd,
    SVDLinear: LeanSVD,
    VBLoRALinear: CapturableVBLoRA,
    WaveFTLinear: CapturableWaveFT,
}


def make_capturable(model: nn.Module) -> None:
    """Replaces the layers that a CUDA graph cannot hold, and those that run more kernels than they need.

    Args:
        model: The PEFT model; it is changed in place.
    """
    for module in model.modules():
        if isinstance(module, FRoDLinear) and any(module.runtime_offload_base_weight.values()):
            continue  # the user wants weights that go to the host in every forward
        module.__class__ = _PLACES.get(type(module), type(module))
    if isinstance(model, PeftModelForSequenceClassification) and model.active_peft_config.is_prompt_learning:
        model.__class__ = CapturablePrompts


def _cayley(skew: Tensor) -> Tensor:
    """Computes (I + S)⁻¹ (I − S) from the right; what is no number shows in the loss."""
    identity = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype).expand(skew.shape)
    # solve() waits for the device to tell whether the matrix was singular, which I + S never is.
    result: Tensor = torch.linalg.solve_ex(identity + skew, identity - skew, left=False).result
    return result
