"""python launcher.py PARENT WORDS: becomes a process that does not outlive its parent.

A comparison that is killed runs no handler, so the kernel has to end what it started. That is asked for here, in the
new process itself: code that runs between fork and exec in a process with threads can wait for ever.
"""

import ctypes
import os
import signal
import sys

# From linux/prctl.h; the setting holds across exec.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks to be killed with the parent, and becomes the program that the other words name."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before this was asked for
        sys.exit(1)
    # A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main()
