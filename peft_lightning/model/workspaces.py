"""What matrix products take of a GPU's memory for themselves."""

import os

# Two buffers of 4 MiB and eight of 16 KiB: what cuBLAS takes on GPUs before Hopper.
_SMALL = ":4096:2:16:8"


def use_small_workspaces() -> None:
    """Lets cuBLAS hold 8 MiB instead of the 32 that it takes on newer GPUs, and that for every thread that computes.

    The forward and the backward pass are two threads: together it is 48 MiB less, of some 400 in all where LoRA trains
    roberta-base. Whoever has set the variable keeps his value. It is read at the first matrix product.
    https://docs.nvidia.com/cuda/cublas/#cublassetworkspace
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _SMALL)
