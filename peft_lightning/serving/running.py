"""Runs the server until a signal ends it: what is in flight is answered first."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from peft_lightning.errors import Setting, UserError
from peft_lightning.stop_signals import SIGNALS, Stopped, listen_again

# Longer than a batch takes; an orchestrator's patience is often 30 s.
_PATIENCE_S = 20


def bound_socket(host: str, port: int) -> socket.socket:
    """Takes a port, before anything is loaded.

    Args:
        host: The address to listen on.
        port: The port; 0 for any that is free.

    Raises:
        UserError: The port is taken or not allowed, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(Setting("host"), f" {host}: there is no such address ({error})") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken: choose another with ", Setting("port"), ", or 0 for any") from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} may not be used: choose one above 1023 with ", Setting("port")) from error
        raise UserError(Setting("host"), f" {host} cannot be listened on ({error.strerror})") from error
    return listening


def serve(app: Any, listening: socket.socket) -> None:
    """Serves until a signal ends it.

    Args:
        app: The application.
        listening: A socket that is bound.

    Raises:
        Stopped: A signal has ended it; all that was in flight is answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE_S,
        backlog=1024,
        ws="none",
    )
    server = _Server(config)
    try:
        asyncio.run(server.serve([listening]))
    finally:
        listen_again()
    if server.stopped_by is not None:
        raise Stopped(server.stopped_by)


class _Server(uvicorn.Server):
    """Ends at each signal of the table, not only at those that uvicorn knows."""

    stopped_by: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        # Another thread than the main one is somebody else's program, which ends it by itself.
        with suppress(ValueError, RuntimeError):
            for number in handled:
                loop.add_signal_handler(number, self._end, number)
        yield
        with suppress(ValueError, RuntimeError):
            for number in handled:
                loop.remove_signal_handler(number)

    def _end(self, number: int) -> None:
        self.force_exit = self.stopped_by is not None
        self.stopped_by = self.stopped_by or number
        self.should_exit = True
