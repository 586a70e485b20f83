"""Standard output whose reader has gone, as in ``| head`` or where a terminal has closed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# The exit code of a command whose output nobody reads any more: that of SIGPIPE.
READER_GONE = 141


def is_reader_gone(error: BaseException) -> bool:
    """Tells whether an error comes from the pipe or the terminal of standard output: it names no file."""
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO) and error.filename is None


@contextmanager
def reader_may_be_gone() -> Iterator[None]:
    """Ignores that standard output is closed, and redirects it: Python would report the error at exit."""
    try:
        yield
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
