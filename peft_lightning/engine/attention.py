"""cuDNN's attention kernels in half precision: they are the fastest, but they are planned anew for every shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# On an H100, cuDNN's libraries took 3.6 s to load, and its plans 0.2 to 0.4 s for each of some eight widths. The
# kernels without plans took 0.4 s to load, and 0.05 to 0.1 s for each width.
PLANNING_S = 5.0
# roberta-base (12 layers x 768) at 8 x 256 tokens on the H100: a captured step of LoRA took 5.26 ms without plans and
# 4.84 ms with them; a step of full fine-tuning took 9.80 and 9.33 ms.
SAVED_S_PER_ACTIVATION = 0.4e-3 / (12 * 768 * 8 * 256)


def planning_pays(batches: int, activations: int) -> bool:
    """Estimates whether a job is long enough to earn back the time that planning its attention takes.

    Args:
        batches: The number of training batches of the job.
        activations: Layers x width x tokens of its widest batch.
    """
    return batches * activations * SAVED_S_PER_ACTIVATION > PLANNING_S


@contextmanager
def planned_attention(allowed: bool) -> Iterator[None]:
    """Allows or forbids cuDNN's attention kernels within the context.

    Args:
        allowed: Whether they may run. Where they were forbidden before, they stay forbidden.
    """
    before: bool = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(before and allowed)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
