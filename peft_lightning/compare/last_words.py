"""What is said while everything ends: to a terminal that may be gone already."""

import os
import sys


def say_if_heard(text: str) -> None:
    """Prints a line; where nobody reads any more, it is dropped, and so is all that would follow.

    A comparison piped into another program ends with it on Ctrl-C: its runs must be interrupted in order all the same.

    Args:
        text: The line.
    """
    try:
        print(text, flush=True)
    except OSError:
        # Python flushes once more on its way out, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
