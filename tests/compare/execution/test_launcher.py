"""The program between an executor and a run: its promise to end with its parent is tested with the runner."""

import os
import signal
import subprocess
import sys

from peft_lightning.compare.execution.warm_starts import LAUNCHER

PROGRAM = (
    "import signal;"
    " usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler;"
    " print(usual, signal.pthread_sigmask(signal.SIG_BLOCK, []))"
)


def test_a_run_takes_sigint_whatever_its_starter_had_done_with_it() -> None:
    before = signal.getsignal(signal.SIGINT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        command = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), "-c", PROGRAM]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert done.stdout.split(maxsplit=1) == ["True", "set()\n"]


def test_without_its_parent_nothing_starts() -> None:
    command = [sys.executable, "-I", "-S", LAUNCHER, "1", "-c", "print('started')"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
