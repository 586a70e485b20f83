"""Mends how bitsandbytes unpacks four-bit weights on a CPU with AVX-512."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_OPERATOR = "bitsandbytes::dequantize_4bit"


@functools.cache
def unpack_by_blocks() -> torch.library.Library | None:
    """Has bitsandbytes unpack rows that are no multiple of a block as if they were one.

    Weights are quantised in blocks of 64 in a row that runs on from one row of the matrix to the next. The kernel of
    bitsandbytes 0.50.2 for AVX-512 begins anew with each row and so takes another block's scale: of a matrix whose rows
    have 96 weights it gives 97 % of the cosine that there should be to the weights, silently. Given the same weights
    with a block for a row it is right, and the order of the weights is the same.

    Returns:
        What keeps the replacement in place; None if the kernel needs none.
    """
    import bitsandbytes.functional as functional

    weight = torch.linspace(-1, 1, 4 * 96).square().reshape(4, 96)
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    found = functional.dequantize_4bit(packed, state)
    state.shape = torch.Size((6, 64))
    if torch.equal(found, functional.dequantize_4bit(packed, state).reshape(4, 96)):
        return None
    kernel = torch.library.get_kernel(_OPERATOR, "CPU")

    def by_blocks(
        keys: Any, packed: Tensor, absmax: Tensor, blocksize: int, kind: str, shape: Sequence[int], dtype: torch.dtype
    ) -> Tensor:
        count = math.prod(shape)
        rows = [1, count] if count % blocksize else [count // blocksize, blocksize]
        found: Tensor = kernel.call_boxed(keys, packed, absmax, blocksize, kind, rows, dtype)
        return found.reshape(list(shape))

    library = torch.library.Library("bitsandbytes", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Overriding a previously registered kernel")
        library.impl(_OPERATOR.partition("::")[2], by_blocks, "CPU", with_keyset=True, allow_override=True)  # type: ignore[no-untyped-call]
    return library


def unpack_as_trained(model: nn.Module) -> None:
    """Has a CPU unpack four-bit weights in the same way while it trains, evaluates and answers.

    Args:
        model: The model; its layers are changed in place.
    """
    from bitsandbytes.nn.modules import Linear4bit

    unpack_by_blocks()
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # Else evaluation on an AVX512-BF16 CPU repacks the weights: the next training step fails, and answers are
            # up to 7e-4 from those of the run.
            module.support_avx512bf16_for_cpu = False
