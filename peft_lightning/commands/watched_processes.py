"""What watches the processes that a run has started itself, while they wait for each other.

A process that waits in a kernel of NCCL's hears nothing of the end of another: for half an hour it holds its GPU.
Lightning looks every five seconds, and kills the first one and the rest without a word. After the first one, nobody
looks.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals
from subprocess import Popen
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher, subprocess_script

from peft_lightning.commands.launchers import PARENT, PATIENCE_S
from peft_lightning.commands.processes import launched_processes
from peft_lightning.errors import Part, Setting, UserError

_LOOK_S = 0.5
_OUT_OF_MEMORY = "most often because the machine's memory ran out: free some, then "


@contextmanager
def watching_processes(trainer: Trainer, then: Sequence[Part]) -> Iterator[None]:
    """Ends this process with a line where it waits for another of the run's that is gone.

    Args:
        trainer: The Trainer, which starts the processes when it trains.
        then: What there is to do once the cause is mended.
    """
    launcher, left = trainer.strategy.launcher, threading.Event()
    if launched_processes(trainer) is not None:
        watch = None
    elif not trainer.is_global_zero:  # whose launcher is None in some strategies
        watch = threading.Thread(target=_watch_first, args=(then, left), daemon=True)
    elif isinstance(launcher, _SubprocessScriptLauncher):
        watch = threading.Thread(target=_watch_others, args=(trainer, launcher, then, left), daemon=True)
    else:
        watch = None
    if watch is None:
        yield
        return
    namespace: Any = subprocess_script
    lightnings = namespace._launch_process_observer
    namespace._launch_process_observer = lambda processes: None
    watch.start()
    try:
        yield
    finally:
        left.set()
        namespace._launch_process_observer = lightnings


def failed_process(processes: Sequence[Popen[bytes]]) -> tuple[int, int] | None:
    """Returns the number and the exit code of a process that has failed; None if none has.

    Args:
        processes: The further processes of a run, in their order.
    """
    for number, process in enumerate(processes, start=1):
        if process.poll():
            return number, int(process.returncode)
    return None


def how_it_ended(number: int, exit_code: int) -> str:
    """Words how a process ended, and what is to be mended.

    Args:
        number: The process's number in the run.
        exit_code: Its exit code; a negative one is a signal's.
    """
    if (stop := _stopped_by(exit_code)) is not None:
        return f"process {number} of the run was stopped by {stop.name}: "
    if exit_code > 0:
        return f"process {number} of the run ended with exit code {exit_code}, and said why: mend that and "
    killed = f"process {number} of the run was killed by {Signals(-exit_code).name}"
    if -exit_code == SIGKILL:
        return f"{killed}, {_OUT_OF_MEMORY}"
    return f"{killed}, without a word of this program: "


def _stopped_by(exit_code: int) -> Signals | None:
    """Returns the signal that has asked a process to stop: one of ours then ends in order, with the shells' code."""
    return Signals(exit_code - 128) if exit_code - 128 in (SIGINT, SIGTERM, SIGHUP) else None


def _watch_others(
    trainer: Trainer, launcher: _SubprocessScriptLauncher, then: Sequence[Part], left: threading.Event
) -> None:
    while not left.wait(_LOOK_S):
        failed = failed_process(launcher.procs)
        # The loops may have heard of it themselves, and save what there is to save.
        if failed is None or left.wait(PATIENCE_S) or trainer.interrupted:
            continue
        launcher.kill(SIGKILL)
        # Ctrl-C reaches all of them; this one is deaf to it where it waits for the others to come.
        _end_with(how_it_ended(*failed), then, failed[1] if _stopped_by(failed[1]) else 2)


def _watch_first(then: Sequence[Part], left: threading.Event) -> None:
    while not left.wait(_LOOK_S):
        # It may have ended in order, a moment before this one does.
        if os.getppid() != PARENT and not left.wait(PATIENCE_S):
            _end_with(f"the first process of the run was killed, {_OUT_OF_MEMORY}", then, 2)


def _end_with(said: str, then: Sequence[Part], exit_code: int) -> None:
    """Ends this process from a thread: the main one waits where no exception reaches it."""
    line = UserError(said, *then).worded(Setting.as_flag)
    print(f"peft_lightning: error: {line}", file=sys.stderr, flush=True)
    os._exit(exit_code)
