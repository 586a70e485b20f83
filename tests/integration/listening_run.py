"""The program, with a witness: every attempt to reach a network, answered or not, is a line in the file ATTEMPTS.

The interpreter itself reports them, before anything is sent, and so it does in workers forked from this process.
"""

import os
import socket
import sys
from typing import Any

ATTEMPTS = os.open(os.environ["ATTEMPTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
EVENTS = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
}


def witness(event: str, args: tuple[Any, ...]) -> None:
    if event in EVENTS and getattr(args[0], "family", None) != socket.AF_UNIX:
        os.write(ATTEMPTS, f"{event} {args!r}\n".encode())


# Before anything else is imported: libraries ask for news at import too.
sys.addaudithook(witness)

from peft_lightning.__main__ import main  # noqa: E402

main(sys.argv[1:])
