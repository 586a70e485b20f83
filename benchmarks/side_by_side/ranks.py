"""Several GPUs: one process for each, started as `accelerate launch` starts them, and their figures put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from peft_lightning.errors import UserError
from side_by_side.results import usable_cores

# What `accelerate launch` sets for FSDP of version 2 that wraps a layer at a time.
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
_LARGEST = ("load_peak_allocated_gib", "peak_allocated_gib", "peak_reserved_gib", "peak_rss_gib")


def require_devices(counts: Sequence[int]) -> None:
    """Refuses more GPUs than there are; without one, more processes than cores.

    Args:
        counts: how many are asked for.

    Raises:
        UserError: there are fewer.
    """
    on_gpu, most = torch.cuda.is_available(), max(counts)
    available = torch.cuda.device_count() if on_gpu else usable_cores()
    if most > available:
        kind = "GPU" if on_gpu else "core"
        raise UserError(f"--devices {most}: this machine has {available} {kind}{'' if available == 1 else 's'}")


def launcher(devices: int) -> tuple[str, ...]:
    """The words between Python and a module that start a process for each GPU; none for a single one."""
    if devices == 1:
        return ()
    return ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={devices}")


def result_of(result: Path, rank: int) -> Path:
    """The file that a rank writes its figures to.

    Args:
        result: the first rank's.
        rank: which process.
    """
    return result if rank == 0 else result.with_suffix(f".{rank}{result.suffix}")


def figures_of(result: Path, devices: int) -> dict[str, Any]:
    """Reads what all ranks have written: the first one's figures, the largest peaks, and each rank's own.

    Args:
        result: the first rank's file.
        devices: how many ranks there are.

    Returns:
        The figures; empty where the first rank has written none.
    """
    paths = [result_of(result, rank) for rank in range(devices)]
    read = [json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {} for path in paths]
    return read[0] if devices == 1 else _together(read)


def _together(ranks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = dict(ranks[0])
    if not first:
        return first
    for name in _LARGEST:
        values = [rank[name] for rank in ranks if rank.get(name) is not None]
        first[name] = max(values) if len(values) == len(ranks) else None
    names = ("ms_per_step", "startup_s", *_LARGEST)
    return first | {"ranks": [{name: rank.get(name) for name in names} for rank in ranks]}
