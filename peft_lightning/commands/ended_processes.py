"""How the processes of a run end: all of them on SIGTERM, and with a line where one of them has failed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL, Signals
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from peft_lightning.commands.launchers import PATIENCE_S
from peft_lightning.errors import Part, UserError


def only_forward_sigterm(trainer: Trainer) -> None:
    """Has SIGTERM end a run's processes without a word between them.

    Lightning's handler also broadcasts, between whichever collectives the signal has interrupted: two processes that
    are asked to stop at the same time then wait for each other until the timeout of half an hour. And before each batch
    Lightning has the first process say whether it was asked, and reads that back: a processor that waits for the GPU at
    every step cannot prepare the next one meanwhile. Whoever sends the signal, or this handler, sends it to all.

    Args:
        trainer: The Trainer, which has not started yet.
    """
    connector = trainer._signal_connector

    def forward(number: int, frame: FrameType | None) -> None:
        launcher = trainer.strategy.launcher
        if launcher is not None and not connector.received_sigterm:
            launcher.kill(number)
        connector.received_sigterm = True

    connector._sigterm_notifier_fn = forward  # type: ignore[method-assign, assignment]
    epochs: Any = trainer.fit_loop.epoch_loop
    if hasattr(epochs, "_broadcast_sigterm_tensor"):  # since Lightning 2.6
        epochs._broadcast_sigterm_tensor = lambda: None


@contextmanager
def ending_its_processes(trainer: Trainer, then: Sequence[Part] = ("run it again",)) -> Iterator[None]:
    """Ends a run's further processes where this one fails: they would wait for it, on GPUs for half an hour.

    The other way round, Lightning ends this process within five seconds of a failure of another.

    Args:
        trainer: The Trainer, which starts the processes when it trains.
        then: What there is to do once the cause is mended.

    Raises:
        UserError: Another process has failed, and this one only because of that.
    """
    launcher = trainer.strategy.launcher
    try:
        yield
    except UserError:
        if not trainer.is_global_zero:
            # The first process usually has the same error, says it, and ends this one meanwhile.
            time.sleep(PATIENCE_S)
        _end(launcher)
        raise
    except Exception as error:
        failed = _failed(launcher)
        _end(launcher)
        if failed is not None:
            raise UserError(_end_of(*failed), *then) from error
        raise
    except BaseException:
        _end(launcher)
        raise


def _end(launcher: object) -> None:
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(SIGKILL)


def _end_of(number: int, exit_code: int) -> str:
    """Words how a process ended, and what is to be mended; a negative exit code is a signal's."""
    if exit_code > 0:
        return f"process {number} of the run ended with exit code {exit_code}, and said why: mend that and "
    killed = f"process {number} of the run was killed by {Signals(-exit_code).name}"
    if -exit_code == SIGKILL:
        return f"{killed}, most often because the machine's memory ran out: free some, then "
    return f"{killed}, without a word of this program: "


def _failed(launcher: object) -> tuple[int, int] | None:
    """Returns the number and the exit code of a process that has failed by itself; None if none has."""
    if not isinstance(launcher, _SubprocessScriptLauncher) or not launcher.procs:
        return None
    ended = time.monotonic() + PATIENCE_S
    while time.monotonic() < ended:
        for number, process in enumerate(launcher.procs, start=1):
            if process.poll():
                return number, int(process.returncode)
        time.sleep(0.05)
    return None
