"""``python launcher.py PARENT WORDS`` starts a program that does not outlive its parent.

A comparison that is killed runs no handler, so the kernel has to end the processes that it started. The new process
itself asks the kernel for that: code between fork and exec can deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

# From linux/prctl.h; the setting holds across exec.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks the kernel to be killed with the parent, and executes the program that the other words name."""
    parent, *command = sys.argv[1:]
    if not die_with_parent(int(parent)):
        sys.exit(1)
    # A shell makes background processes ignore SIGINT, a worker of Ray blocks it, and children inherit both.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, *command])


def die_with_parent(parent: int) -> bool:
    """Asks the kernel to kill this process when its parent dies.

    Args:
        parent: Number of the parent's process.

    Returns:
        Whether the parent lives; it may have died before the kernel was asked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


if __name__ == "__main__":
    main()
