"""Which kernels compute attention on a GPU in half precision: cuDNN's are the fastest, but plan every shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# On an H100: cuDNN's libraries took 3.6 s to load, and its plans 0.2 to 0.4 s for each of some eight widths, against
# 0.4 s and 0.05 to 0.1 for the kernels without plans.
PLANNING_S = 5.0
# roberta-base (12 layers x 768) at 8 x 256 tokens there: a captured step of LoRA took 5.26 ms without plans, and 4.84
# with; of full fine-tuning 9.80 and 9.33.
SAVED_S_PER_ACTIVATION = 0.4e-3 / (12 * 768 * 8 * 256)


def planning_pays(batches: int, activations: int) -> bool:
    """Estimates whether a job is long enough to earn back what planning its attention takes.

    Args:
        batches: training batches of the job.
        activations: layers x width x tokens of its widest batch.
    """
    return batches * activations * SAVED_S_PER_ACTIVATION > PLANNING_S


@contextmanager
def planned_attention(allowed: bool) -> Iterator[None]:
    """Lets attention inside take cuDNN's kernels, or keeps it from them.

    Args:
        allowed: whether it may; never where it might not before.
    """
    before: bool = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(before and allowed)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
