"""The host memory that a process may still allocate, on the machine and within its container's limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil


class _Hierarchy(NamedTuple):
    """The folder and the file names of one version of Linux control groups.

    Cached pages of files that were not used lately (``unused_files``) count as taken, but are freed on demand.
    """

    folder: str
    limit: str
    taken: str
    unused_files: str


# https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
_V2 = _Hierarchy("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
_V1 = _Hierarchy("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_memory(root: Path = Path("/")) -> int:
    """Returns the bytes of host memory that this process may still allocate.

    The limits of the process's control group and of every group above it count. A limit that cannot be read is ignored.

    Args:
        root: The folder that holds ``proc`` and ``sys``.
    """
    available: int = psutil.virtual_memory().available
    return min([available, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, named = line.partition(":")
        controllers, colon, name = named.partition(":")
        if not colon or (controllers and "memory" not in controllers.split(",")):
            continue
        hierarchy = _V1 if controllers else _V2
        top = root / hierarchy.folder
        # A container may see its own group as the top folder, while the kernel reports the name that the host uses.
        group = Path(name.lstrip("/"))
        for folder in dict.fromkeys((top / group, *(top / parent for parent in group.parents), top)):
            left = _left(folder, hierarchy)
            if left is not None:
                yield left


def _left(folder: Path, hierarchy: _Hierarchy) -> int | None:
    limit, taken = _read(folder / hierarchy.limit).strip(), _read(folder / hierarchy.taken).strip()
    if not limit.isdigit() or not taken.isdigit():  # "max" is no limit
        return None
    figures = dict(line.partition(" ")[::2] for line in _read(folder / "memory.stat").splitlines())
    return max(int(limit) - int(taken) + int(figures.get(hierarchy.unused_files, 0)), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
