"""Warm starts: a server forks the processes of runs, with all imports done, and hands them to this process."""

import array
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from peft_lightning.compare.execution import fork_server, launcher
from peft_lightning.stop_signals import delaying_signals

LAUNCHER = os.path.abspath(launcher.__file__)
# From linux/prctl.h.
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
# Seconds that the server has to import everything: some 10 alone on a machine, and busy ones take ten times that.
IMPORTED_AFTER_S = 300.0
# Seconds that it has to fork a run, which takes 0.03 alone on a machine.
FORKED_AFTER_S = 60.0
LOOK_EVERY_S = 0.02
# Variables that are read when an interpreter starts or a library is loaded, by their beginnings.
READ_EARLY = (
    *("PYTHON", "LD_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("TORCH", "PYTORCH_", "HF_", "TRANSFORMERS_", "BNB_"),
)


class NoWarmStart(Exception):
    """No process can be forked; the message says why."""


class ForkedProcess:
    """A process that the server has forked, a child of this process; used like ``subprocess.Popen``.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Returns its exit code, negative for a signal; None as long as it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end, and returns its exit code.

        Raises:
            subprocess.TimeoutExpired: If it runs longer than ``timeout`` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(LOOK_EVERY_S)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class WarmStarts:
    """A server that has imported what a run imports. It ends with this process, or with this object.

    Args:
        environment: The environment in which it imports, like that of its runs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._socket, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed with this object
        program = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), "-m", fork_server.__name__]
        self._server = subprocess.Popen(
            [*program, str(theirs.fileno())],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        theirs.close()
        self._ready = False
        self.close = weakref.finalize(self, _end, self._socket, self._server, self._log)

    @property
    def server(self) -> int:
        """The number of the server's process."""
        return self._server.pid

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Tells whether a process with this environment may be forked: what is read early is as in the server's."""
        return _read_early(environment) == _read_early(self._environment)

    def await_ready(self) -> None:
        """Waits until the server has imported everything.

        Raises:
            NoWarmStart: If it has ended, or should not fork.
        """
        if not self._ready:
            self._answer(IMPORTED_AFTER_S)
            self._ready = True

    def start(
        self, words: list[str], environment: Mapping[str, str], directory: Path | None, log: IO[bytes]
    ) -> ForkedProcess:
        """Starts ``python -m peft_lightning WORDS``.

        Args:
            words: The words after the program's name.
            environment: All of its environment.
            directory: Its working directory; that of this process if None.
            log: Its output is appended here.

        Raises:
            NoWarmStart: If the server has ended, or cannot fork.
        """
        self.await_ready()
        content = {"words": words, "environment": dict(environment), "directory": directory and str(directory)}
        line = json.dumps(content).encode() + b"\n"
        descriptor = array.array("i", [log.fileno()])
        # A signal that raised here would lose a process that is about to start.
        with delaying_signals(), _adopting():
            try:
                sent = self._socket.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
                self._socket.sendall(line[sent:])
            except OSError as error:
                raise NoWarmStart(self._last_words() or str(error)) from error
            return ForkedProcess(int(self._answer(FORKED_AFTER_S)["pid"]))

    def _answer(self, patience_s: float) -> dict[str, Any]:
        self._socket.settimeout(patience_s)
        line = b""
        try:
            while not line.endswith(b"\n") and (more := self._socket.recv(4096)):
                line += more
        except OSError as error:
            raise NoWarmStart(f"no answer: {error}") from error
        finally:
            self._socket.settimeout(None)
        content: dict[str, Any] = json.loads(line) if line else {"error": self._last_words() or "it has ended"}
        if "error" in content:
            raise NoWarmStart(content["error"])
        return content

    def _last_words(self) -> str:
        """Returns the last line that the server has written, and how it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(1.0)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        written = next((line.strip() for line in reversed(lines) if line.strip()), "")
        code = self._server.returncode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return written


def _end(connection: socket.socket, server: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    connection.close()
    server.kill()
    server.wait()
    log.close()


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_EARLY)}


@contextmanager
def _adopting() -> Iterator[None]:
    """Makes this process inside the one that the kernel hands a descendant to whose parent has ended."""
    library = ctypes.CDLL(None)
    before = ctypes.c_int(0)
    library.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    library.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        library.prctl(PR_SET_CHILD_SUBREAPER, before.value)
