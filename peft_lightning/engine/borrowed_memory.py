"""Tensors over memory that is not theirs, such as that of a CUDA graph, which the allocator takes for free."""

from __future__ import annotations

import torch
from torch import Tensor


def borrowed(tensor: Tensor) -> Tensor:
    """Returns a tensor over the memory of another that does not keep this memory from being used again.

    Whoever reads it has to know that nothing else has been written there since, and that the memory is still mapped:
    that of a graph is as long as the graph is.

    Args:
        tensor: A tensor whose storage begins with it or before it.

    Returns:
        A tensor of the same type, shape and strides at the same address.
    """
    storage = tensor.untyped_storage()
    # As torch's own trees of graphs do it; no public function makes a storage without an owner.
    loan = torch._C._construct_storage_from_data_pointer(storage.data_ptr(), tensor.device, storage.nbytes())
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(loan, tensor.storage_offset(), tensor.shape, tensor.stride())
