"""Gives a model the start that its method computes from training data."""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.methods import Method
from peft_lightning.methods.data_start import TrainingSample
from peft_lightning.module.mean_logits import logits_of
from peft_lightning.task import Task
from peft_lightning.task.gathering import gathered, process_number


def start_from_batches(
    method: Method,
    model: nn.Module,
    batches: Iterable[dict[str, Tensor]],
    task: Task,
    device: torch.device,
    precision: str,
) -> None:
    """Computes the start of a method that starts from training data, and applies it; of others nothing.

    Args:
        method: The method; it takes the first batches.
        model: The adapted model.
        batches: Training batches in a fixed order, the same in all processes: the first one computes the start.
        task: What the loss is of.
        device: Where to compute.
        precision: Lightning's name, such as ``bf16-mixed``.
    """
    # Taken before anything draws: the loader's order follows from torch's seed.
    asked = method.batches_to_start_from
    taken = list(islice(batches, asked))
    if not taken:
        return
    dtype, mixed = compute_dtype(precision), precision.endswith("-mixed")
    sample = TrainingSample(
        taken,
        lambda network, batch: task.loss(logits_of(network, batch).float(), batch["labels"]),
        device,
        lambda: torch.autocast(device.type, dtype, enabled=mixed),
        asked=asked,
    )
    computed = gathered(method.compute_start(model, sample) if process_number() == 0 else None)[0]
    method.start_from(model, computed or {})
