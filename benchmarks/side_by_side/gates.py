"""Gates: one process keeps others waiting at a file, without a cost to any of them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Gate:
    """A gate that is closed until this process opens it, or ends.

    Args:
        path: the gate's file; it is made.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def open(self) -> None:
        """Lets all through, for good."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def pass_gate(path: Path) -> None:
    """Waits until a gate is open; the kernel wakes this process, which uses no processor meanwhile.

    Args:
        path: the gate's file.
    """
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
