"""What a Trainer's precision means for the types that a model computes in."""

import torch


def compute_dtype(precision: str) -> torch.dtype:
    """Returns the type that a Trainer's precision computes in.

    Args:
        precision: Lightning's name, such as `bf16-mixed`.
    """
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32
