"""The server of warm starts: it has imported what a run imports, and forks a fresh process for each run.

``python -m peft_lightning.compare.execution.fork_server SOCKET`` reads requests from the socket of that number, a JSON
line each, which comes with the file descriptor of the run's log. A request holds ``words`` (the command line after
``python -m peft_lightning``), ``environment`` and ``directory``. An answer is a JSON line too: ``pid``, or ``error``.

Not ``multiprocessing.forkserver``: its children are the server's, so that they die with it or outlive a comparison that
is killed; their exit codes come by way of it; and their ``__main__`` is another one than that of ``python -m``.

Each run is forked twice. The process between ends at once, and the kernel hands the run to its nearest ancestor that
adopts, the comparison: which waits for it, signals it and ends with it as with a process that it started itself.

Nothing but the forking thread lives on in a child, so the server has one thread when it forks, and no CUDA context: it
says so, or why not, in the first line that it writes, ``{"ready": true}`` or ``{"error": reason}``.
"""

import array
import json
import os
import random
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from peft_lightning.compare.execution.launcher import die_with_parent
from peft_lightning.compare.execution.preloading import preload, unfit_to_fork
from peft_lightning.runs.process_start import started_warm

PROGRAM = "peft_lightning"
# A line of a request: an environment is at most 2 MiB, as the kernel limits it.
CHUNK = 64 * 1024
# Seconds between two looks whether the process between has ended, which takes less than a millisecond.
LOOK_EVERY_S = 0.0002


class Request(NamedTuple):
    """A run that is to start, and the descriptor of its log."""

    words: list[str]
    environment: dict[str, str]
    directory: str | None
    log: int


def main() -> None:
    """Imports, then forks until the socket closes; returns in each run's process, whose command it runs."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    changed = preload()
    why = unfit_to_fork()
    _answer(connection, {"ready": True} if why is None else {"error": why})
    if why is not None:
        sys.exit(1)
    run(serve(connection, changed).words)


def serve(connection: socket.socket, changed: Mapping[str, str]) -> Request:
    """Forks a process for each request, until the socket closes, which ends this process.

    Args:
        connection: The socket.
        changed: The environment variables that the imported libraries have set.

    Returns:
        In each forked process its request, once all is as in a process of its own; never in this one.
    """
    comparison = os.getppid()
    own_directory = os.getcwd()
    while (request := _receive(connection)) is not None:
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork():
                os._exit(0)
            _settle(request, connection, between, comparison, own_directory, changed)
            return request
        os.close(request.log)
        os.waitpid(between, 0)
    os._exit(0)


def run(words: list[str]) -> None:
    """Runs the program as ``python -m peft_lightning WORDS`` does.

    Args:
        words: The words after the program's name.
    """
    sys.argv = [PROGRAM, *words]
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)


def _settle(
    request: Request,
    connection: socket.socket,
    between: int,
    comparison: int,
    own_directory: str,
    changed: Mapping[str, str],
) -> None:
    """Makes this forked process what a started one is, and answers with its number."""
    try:
        # A group of its own: Ctrl-C in a terminal reaches a run once, from the comparison.
        os.setpgid(0, 0)
        while os.getppid() == between:
            time.sleep(LOOK_EVERY_S)
        if os.getppid() != comparison:
            _refuse(connection, "the kernel has not handed the run to the comparison")
        if not die_with_parent(comparison):
            os._exit(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if (why := unfit_to_fork()) is not None:
            _refuse(connection, why)
        for stream in (1, 2):
            os.dup2(request.log, stream)
        os.close(request.log)
        os.environ.clear()
        os.environ.update({**request.environment, **changed})
        if request.directory is not None:
            os.chdir(request.directory)
            # `python -m` finds modules in the working directory first, unless it is told not to.
            if sys.path[:1] == [own_directory]:
                sys.path[0] = os.getcwd()
        _draw_anew()
        started_warm()
        _answer(connection, {"pid": os.getpid()})
        connection.close()
    except OSError as error:
        _refuse(connection, str(error))


def _draw_anew() -> None:
    """Seeds the generators that are seeded from the system in a process of its own, when they are imported."""
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.default_generator.seed()


def _receive(connection: socket.socket) -> Request | None:
    """Reads a request; None if the comparison has closed the socket."""
    size = array.array("i").itemsize
    data, found, _, _ = connection.recvmsg(CHUNK, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for _, _, content in found:
        descriptors.frombytes(content[:size])
    while data and not data.endswith(b"\n"):
        more = connection.recv(CHUNK)
        if not more:
            return None
        data += more
    return Request(**json.loads(data), log=descriptors[0]) if data else None


def _answer(connection: socket.socket, content: Mapping[str, Any]) -> None:
    with suppress(OSError):  # a comparison that has ended reads no answer
        connection.sendall(json.dumps(content).encode() + b"\n")


def _refuse(connection: socket.socket, why: str) -> NoReturn:
    _answer(connection, {"error": why})
    os._exit(1)


if __name__ == "__main__":
    main()
