"""What libraries take of a GPU's memory beyond what is asked of them, and less of it."""

import os

import torch

# Two buffers of 4 MiB and eight of 16 KiB: what cuBLAS takes on GPUs before Hopper.
_WORKSPACES = ":4096:2:16:8"
_ALLOCATOR = "expandable_segments:True"


def spare_memory() -> None:
    """Lets cuBLAS hold little for itself, and torch's allocator hand out no more than it is asked for.

    cuBLAS: 8 MiB instead of the 32 that it takes on newer GPUs, and that for every thread that computes. The forward
    and the backward pass are two threads: together it is 48 MiB less, of some 400 in all where LoRA trains
    roberta-base. It is read at the first matrix product. https://docs.nvidia.com/cuda/cublas/#cublassetworkspace

    The allocator gives a tensor up to 1 MiB more than it needs rather than cut a block in two, but where segments can
    expand: 32 MiB of some 530 where roberta-base is fine-tuned whole in bf16.
    https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf

    Whoever has set the variable of either keeps his value.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACES)
    if torch.cuda.is_available() and not {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"} & os.environ.keys():
        # The allocator may have read its variables by now. Newer versions of torch have another name for this, and none
        # promises it: without it a run takes a little more.
        ask = getattr(torch._C, "_accelerator_setAllocatorSettings", None)
        ask = ask or getattr(torch.cuda.memory, "_set_allocator_settings", None)
        if ask is not None:
            ask(_ALLOCATOR)
