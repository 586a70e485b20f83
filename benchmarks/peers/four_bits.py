"""What a peer needs to train beside weights in four bits on any machine."""

from __future__ import annotations

from torch import nn


def keep_4bit_trainable(model: nn.Module) -> None:
    """Keeps an AVX512-BF16 CPU from repacking 4-bit weights in evaluation, after which no training step runs."""
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
