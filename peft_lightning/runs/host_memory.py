"""The host memory that a process may still take: what the machine has left, and what its container allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil


class _Hierarchy(NamedTuple):
    """Where Linux keeps the limits of control groups, and what it calls them.

    Pages of files that nobody used lately count as taken, and make room where it is wanted.
    """

    folder: str
    limit: str
    taken: str
    unused_files: str


# https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
_V2 = _Hierarchy("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
_V1 = _Hierarchy("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_memory(root: Path = Path("/")) -> int:
    """Returns the bytes of the host's memory that this process may still take.

    A container's limit counts, and so does that of every group around it; what cannot be read limits nothing.

    Args:
        root: Where ``proc`` and ``sys`` lie.
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
        # A container may see its own group as the top, under the name that the host calls it by.
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
