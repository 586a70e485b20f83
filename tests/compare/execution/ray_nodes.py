"""A real Ray cluster of two nodes on loopback, for the tests that want one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

RAY = Path(sys.executable).parent / "ray"
STARTED_AFTER_S = 240.0
# A token that another cluster has left in the user's folder makes a head ask for it.
AUTH = {"RAY_AUTH_MODE": "disabled"}
# What one node has and the other has not.
FIRST, SECOND = "first", "second"


class RayNodes:
    """The cluster.

    Args:
        address: Where its head is.
        nodes: The process group of each node, the head's first.
    """

    def __init__(self, address: str, nodes: "list[subprocess.Popen[bytes]]") -> None:
        self.address = address
        self._nodes = nodes

    def lose_second(self) -> None:
        """Ends the second node as a power cut does."""
        _end(self._nodes[1], signal.SIGKILL)


@contextmanager
def running_ray(cpus: int = 1) -> Iterator[RayNodes]:
    """Starts two nodes, each with so many cores by its own account, and stops them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nodes: list[subprocess.Popen[bytes]] = []
    # Ray puts its sockets there, and a socket's path has 107 characters at most.
    folder = TemporaryDirectory(prefix="ray", dir="/tmp")
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder.name}"]
    address = f"127.0.0.1:{port}"
    try:
        for where, name in ((head, FIRST), ([f"--address={address}"], SECOND)):
            log = Path(folder.name, f"{name}.txt")
            words = ["start", *where, "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--num-gpus=0", "--block"]
            words += ["--disable-usage-stats", "--object-store-memory=80000000", f'--resources={{"{name}": 1}}']
            nodes.append(_started(words, log))
        with pytest.MonkeyPatch.context() as scene:
            scene.setenv("RAY_AUTH_MODE", AUTH["RAY_AUTH_MODE"])
            yield RayNodes(address, nodes)
    finally:
        for node in reversed(nodes):
            _end(node, signal.SIGTERM)
        shutil.rmtree(folder.name, ignore_errors=True)


def _started(words: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Starts a node; Ray gives up on its own processes after 30 s, which a busy machine may need."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | AUTH
    until = time.monotonic() + STARTED_AFTER_S
    while True:
        with log.open("wb") as out:
            node = subprocess.Popen(
                [RAY, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
            )
        while node.poll() is None:
            if "Ray runtime started" in log.read_text():
                return node
            time.sleep(0.2)
        assert time.monotonic() < until, log.read_text()
        _end(node, signal.SIGKILL)


def _end(node: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    for signal_number in (number, signal.SIGKILL):
        try:
            os.killpg(node.pid, signal_number)
            node.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
