from __future__ import annotations

import pytest
import torch

from peft_lightning.backbone.cpu_dequantising import unpack_by_blocks

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shape", [(64, 64), (4, 96), (64, 32), (7, 32), (3, 33), (2, 128)])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_every_weight_has_its_own_blocks_scale(shape: tuple[int, int], kind: str, nested: bool) -> None:
    import bitsandbytes.functional as functional

    unpack_by_blocks()
    count = shape[0] * shape[1]
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type=kind, compress_statistics=nested)
    scales = state.absmax
    if nested:
        scales = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    bytes_ = packed.flatten().long()
    codes = torch.stack([bytes_ >> 4, bytes_ & 15], dim=1).flatten()[:count]
    expected = (state.code[codes] * scales.repeat_interleave(64)[:count]).reshape(shape)
    assert torch.allclose(functional.dequantize_4bit(packed, state), expected, atol=1e-6)
