"""What runs on a node of a Ray cluster: it starts an attempt's program, passes Ctrl-C on, and answers its exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """The files of an attempt, on a file system that the nodes share.

    Args:
        directory: The working directory.
        log: The file that the program's output is appended to.
        start: The file in which the node writes its own name before anything else.
        lock: A file that the program holds locked as long as it runs.
    """

    directory: Path
    log: Path
    start: Path
    lock: Path


def node_task() -> Callable[[str, list[str], dict[str, str], dict[str, str]], int]:
    """Returns the task. A function within a function travels whole: the nodes' workers need not know this package."""

    def run(source: str, words: list[str], files: dict[str, str], environment: dict[str, str]) -> int:
        import fcntl
        import os
        import signal
        import socket
        import subprocess
        import time
        from contextlib import suppress

        look_every_s = 0.1

        with open(files["lock"], "ab") as held, open(files["log"], "ab") as out:
            # The program of an earlier attempt may still be ending: its comparison was killed a moment ago.
            # In short sleeps: what Ray raises in a task to stop it breaks no system call off.
            waits = True
            while waits:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    waits = False
                except BlockingIOError:
                    time.sleep(look_every_s)
                except OSError:  # a file system without locks
                    waits = False
            with open(files["start"], "w", encoding="utf-8") as file:
                file.write(socket.gethostname() + "\n")
            # The launcher asks the kernel to end the program with this worker.
            process = subprocess.Popen(
                [words[0], "-I", "-S", "-c", source, str(os.getpid()), *words[1:]],
                cwd=files["directory"],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(held.fileno(),),
                process_group=0,
            )
            while (code := process.poll()) is None:
                try:
                    time.sleep(look_every_s)
                except KeyboardInterrupt:
                    process.send_signal(signal.SIGINT)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return code

    return run
