"""What an output's name stands for: a plain file, a link to one, an open file of this process, a pipe or a device."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

# What the system calls this process's open files; `>(gzip > out.gz)` of a shell becomes one of them.
_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_MOST_LINKS = 40


@dataclass(frozen=True)
class OutputPlace:
    """Where an output goes; every question looks at the disk anew.

    Args:
        path: The file as the user names it.
    """

    path: str

    def descriptor(self) -> int | None:
        """Returns the number of this process's open file that is named; None for any other file."""
        path = self.path
        for _ in range(_MOST_LINKS):
            if path in _DESCRIPTORS:
                return _DESCRIPTORS[path]
            if (numbered := _NUMBERED.fullmatch(path)) is not None:
                return int(numbered[1])
            try:
                path = os.path.join(os.path.dirname(path), os.readlink(path))
            except (OSError, ValueError):
                return None
        return None

    def is_stream(self) -> bool:
        """Tells whether what is written is gone at once, as through a pipe, and no file takes another's place."""
        if self.descriptor() is not None:
            return True
        try:
            return not stat.S_ISREG(os.stat(self.path).st_mode)
        except OSError:
            return False

    def in_place(self) -> bool:
        """Tells whether the file is written to: it is no plain file, or its folder lets no other take its place."""
        try:
            plain = stat.S_ISREG(os.stat(self.path).st_mode)
        except OSError:
            return False
        return not plain or not os.access(self.target().parent, os.W_OK)

    def target(self) -> Path:
        """Returns the file that the name leads to, through all links."""
        return Path(os.path.realpath(self.path))
