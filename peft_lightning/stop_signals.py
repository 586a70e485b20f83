"""The signals that ask a command to stop: one table for all commands.

========  =========  =============================================
signal    exit code  sent by
========  =========  =============================================
SIGINT    130        Ctrl-C
SIGTERM   143        ``kill``, ``timeout``, a cluster, a container
SIGHUP    129        a terminal that closes
========  =========  =============================================

The first signal ends the work in order: a run writes its record, then the process exits with the code of the table.
A second one ends the process at once. Nobody else's signals are touched: Lightning's SIGUSR1, with which SLURM queues a
job again, stays Lightning's.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

# Those that the platform has.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# One request can arrive twice: `timeout` signals its child and then its group, and a closing terminal sends SIGHUP from
# the kernel and from the shell. Nobody presses Ctrl-C again so soon.
SAME_REQUEST_S = 1.0


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to stop; whatever ends in order after Ctrl-C does so after this.

    >>> str(Stopped(signal.SIGTERM)), Stopped(signal.SIGTERM).exit_code
    ('stopped by SIGTERM', 143)

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code of the table."""
        return 128 + self.number


class StopSignals:
    """Handles the signals of the table while a command runs.

    Before ``may_raise`` is called, while modules are imported, nothing is to be saved, and an exception could be lost
    in an import: a signal ends the process there and then. Afterwards it raises ``Stopped``.

    Args:
        owns_process: Whether the process is this program's alone. In another's, such as a notebook's, a signal only
            ever raises.
    """

    def __init__(self, owns_process: bool) -> None:
        self.received: Stopped | None = None
        self._owns_process = owns_process
        self._raises = not owns_process
        self._received_s = 0.0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._raises_again = False
        self.quiet = False
        """Whether a signal ends the process without a word as long as it has begun nothing."""

    def listen(self) -> None:
        """Installs the handlers; a signal that the process was started to ignore, as by ``nohup``, stays ignored."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)

    def listen_again(self) -> None:
        """Installs the handlers again where a library has replaced them: Lightning shuts down deaf to Ctrl-C."""
        if threading.current_thread() is threading.main_thread():
            for number in self._before:
                signal.signal(number, self._handle)

    def forget(self) -> None:
        """Puts the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def may_raise(self) -> None:
        """Makes a signal raise ``Stopped`` from now on: what runs now ends in order."""
        self._raises = True

    @contextmanager
    def raising_again(self) -> Iterator[None]:
        """Makes a second signal raise ``Stopped`` as well."""
        self._raises_again = True
        try:
            yield
        finally:
            self._raises_again = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            _as_if_never_handled(number)
            return
        stop, now = Stopped(number), time.monotonic()
        if self.received is None:
            self.received, self._received_s = stop, now
            if self._raises:
                raise stop
            if not self.quiet:
                _write_line(f"peft_lightning: {stop} before anything was begun")
            os._exit(stop.exit_code)
        if now - self._received_s < SAME_REQUEST_S:
            return
        if self._raises_again or not self._owns_process:
            raise stop
        _write_line(f"peft_lightning: {stop} again: ended at once")
        os._exit(stop.exit_code)


_current: StopSignals | None = None


@contextmanager
def listening(owns_process: bool) -> Iterator[StopSignals]:
    """Handles the signals of the table inside; where they are handled already, nothing changes.

    Args:
        owns_process: Whether the process is this program's alone.
    """
    global _current
    if _current is not None:
        yield _current
        return
    signals = StopSignals(owns_process)
    signals.listen()
    _current = signals
    try:
        yield signals
    finally:
        _current = None
        signals.forget()


def may_raise() -> None:
    """Makes a signal raise ``Stopped`` from now on, where a command handles signals."""
    if _current is not None:
        _current.may_raise()


def end_quietly(quietly: bool) -> None:
    """Sets whether a signal ends the process without a word while it has begun nothing: another one speaks for it.

    Args:
        quietly: Whether it does.
    """
    if _current is not None:
        _current.quiet = quietly


def raising_again() -> AbstractContextManager[None]:
    """Makes a second signal raise ``Stopped`` too, for work that has to end others before it ends itself."""
    return _current.raising_again() if _current is not None else nullcontext()


def listen_again() -> None:
    """Installs the handlers again where a library has replaced them."""
    if _current is not None:
        _current.listen_again()


@contextmanager
def delaying_signals() -> Iterator[None]:
    """Delays the signals of the table until the end of the block, in this thread: what it makes is not lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_delaying() -> None:
    """Lets the signals of the table through in this thread, which was started while they were delayed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def received() -> Stopped | None:
    """Returns the signal that has asked this process to stop; None if there was none."""
    return _current.received if _current is not None else None


def exit_code_after(stop: BaseException | None) -> int:
    """Returns the exit code of a command that was interrupted.

    Args:
        stop: What interrupted it; anything but ``Stopped`` counts as Ctrl-C.
    """
    stop = received() or stop
    return stop.exit_code if isinstance(stop, Stopped) else 128 + signal.SIGINT


def _as_if_never_handled(number: int) -> None:
    """Does in a forked process, such as a data loader's worker, what Python does with a signal of its own accord."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _write_line(line: str) -> None:
    # Not `print`: the signal may have interrupted a write to the same stream.
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")  # a progress bar hides the cursor
        os.write(2, f"\n{line}\n".encode())
