"""Chooses GPUs for each of the runs at the same time: on a shared GPU neither memory nor time can be measured."""

import os
from collections.abc import Sequence

from peft_lightning.compare.execution.executor import require_one
from peft_lightning.errors import UserError


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if named is None else named.split(",")
    return [name.strip() for name in names[:count]]


def places(
    count: int | None, accelerators: Sequence[object] = (), share_gpu: int = 1, gpus_per_run: int = 1
) -> list[str | None]:
    """Chooses the places of the runs at the same time: GPUs for each, or the whole machine for a single one.

    Args:
        count: Number of runs at the same time; None for as many as may share the devices, a single one if none may.
        accelerators: The values of ``trainer.accelerator`` in the recipes.
        share_gpu: Number of runs that may share a GPU, or the CPU where there is none.
        gpus_per_run: The most devices that a run's ``trainer.devices`` asks for.

    Returns:
        The GPUs of each place, with commas between; None for a place that is the whole machine.

    Raises:
        UserError: If more runs than may would share a device, or there are fewer GPUs than a run takes.
    """
    require_one("--jobs", count)
    require_one("--share_gpu", share_gpu)
    if share_gpu > 1 and gpus_per_run > 1:
        raise UserError(
            f"--share_gpu {share_gpu}: runs of {gpus_per_run} devices each share none: leave one of them out"
        )
    gpus = visible_gpus() if gpus_per_run > 1 and "cpu" not in accelerators else []
    if gpus and gpus_per_run > len(gpus):
        raise UserError(
            f"{_counted(gpus)}, and runs take {gpus_per_run} each (--devices_per_run, or trainer.devices of a recipe):"
            f" say --devices_per_run {len(gpus)}"
        )
    if share_gpu > 1:
        return _shared(count, accelerators, share_gpu)
    if count in (None, 1):
        return [None]
    why = "runs that share a device measure neither memory nor time"
    alone = "leave --jobs out, or say --share_gpu N if only accuracy is wanted"
    if "cpu" in accelerators:
        raise UserError(f"--jobs {count}: trainer.accelerator is cpu, and {why}: {alone}")
    gpus = visible_gpus()
    if not gpus:
        raise UserError(f"--jobs {count}: there is no GPU here, and {why}: {alone}")
    if (most := len(gpus) // gpus_per_run) < count:
        each = why if gpus_per_run == 1 else f"each run takes {gpus_per_run}"
        shared = ", or --share_gpu N if only accuracy is wanted" if gpus_per_run == 1 else ""
        raise UserError(f"--jobs {count}: {_counted(gpus)}, and {each}: say --jobs {most}{shared}")
    return [",".join(gpus[number * gpus_per_run : (number + 1) * gpus_per_run]) for number in range(count)]


def _shared(count: int | None, accelerators: Sequence[object], share_gpu: int) -> list[str | None]:
    """Chooses the places of runs that share devices: the GPUs take turns, so that each has as few runs as possible."""
    gpus: list[str] = [] if "cpu" in accelerators else visible_gpus()
    devices: list[str | None] = list(gpus) or [None]
    most = share_gpu * len(devices)
    if count is not None and count > most:
        where = _counted(gpus) if gpus else "the runs share the CPU"
        raise UserError(f"--jobs {count}: {where}, and --share_gpu {share_gpu} allows {most} runs: leave --jobs out")
    return (devices * share_gpu)[: count or most]


def _counted(gpus: Sequence[str]) -> str:
    return "there is 1 GPU" if len(gpus) == 1 else f"there are {len(gpus)} GPUs"
