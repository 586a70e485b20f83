"""Chooses a GPU for each of the runs at the same time: on a shared GPU neither memory nor time can be measured."""

import os
from collections.abc import Sequence

from peft_lightning.errors import UserError


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if named is None else named.split(",")
    return [name.strip() for name in names[:count]]


def places(jobs: int, accelerators: Sequence[object] = ()) -> list[str | None]:
    """Chooses the places of the runs at the same time: a GPU for each, or the whole machine for a single one.

    Args:
        jobs: Number of runs at the same time.
        accelerators: The values of ``trainer.accelerator`` in the recipes.

    Returns:
        The GPU of each place; None for a place that is the whole machine.

    Raises:
        UserError: If runs would share a device.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: say 1 or more")
    if jobs == 1:
        return [None]
    why = "runs that share a device measure neither memory nor time"
    if "cpu" in accelerators:
        raise UserError(f"--jobs {jobs}: trainer.accelerator is cpu, and {why}: leave --jobs out")
    gpus = visible_gpus()
    if not gpus:
        raise UserError(f"--jobs {jobs}: there is no GPU here, and {why}: leave --jobs out")
    if jobs > len(gpus):
        gpus_in_words = "there is 1 GPU" if len(gpus) == 1 else f"there are {len(gpus)} GPUs"
        raise UserError(f"--jobs {jobs}: {gpus_in_words}, and {why}: say --jobs {len(gpus)}")
    return list(gpus[:jobs])
