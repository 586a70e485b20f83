"""How the processes of a run end: all of them on SIGTERM, and with a line where one of them has failed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch import distributed as dist

from peft_lightning.commands.launchers import PATIENCE_S, launch
from peft_lightning.commands.watched_processes import failed_process, how_it_ended, watching_processes
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

    The other way round, and where the first one is gone, a process ends as ``watching_processes`` says.

    Args:
        trainer: The Trainer, which starts the processes when it trains.
        then: What there is to do once the cause is mended.

    Raises:
        UserError: Another process has failed, and this one only because of that.
    """
    launcher = trainer.strategy.launcher
    try:
        with watching_processes(trainer, then):
            try:
                yield
            except Exception as error:
                if is_of_another(error) and not trainer.is_global_zero:
                    # Whoever has started this one, or the watch, ends it meanwhile.
                    time.sleep(3 * PATIENCE_S)
                raise
    except UserError:
        if not trainer.is_global_zero:
            # The first process usually has the same error, says it, and ends this one meanwhile.
            time.sleep(PATIENCE_S)
        _end(launcher)
        raise
    except Exception as error:
        better = explained_by_another(error, trainer, then)
        _end(launcher)
        if better is not error:
            raise better from error
        raise
    except BaseException:
        _end(launcher)
        raise


def is_of_another(error: BaseException) -> bool:
    """Tells whether an error is that another process cannot be reached, most often because it is gone.

    Args:
        error: What was raised.
    """
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def explained_by_another(error: Exception, trainer: Trainer, then: Sequence[Part]) -> Exception:
    """Returns the ``UserError`` of another process that has failed and so brought about an error; else the error.

    Args:
        error: What this process has raised.
        trainer: The Trainer.
        then: What there is to do once the cause is mended.
    """
    failed = _failed(trainer.strategy.launcher)
    if failed is not None:
        return UserError(how_it_ended(*failed), *then)
    found = launch()
    if found is not None and is_of_another(error):
        ended = f"another process of the run has ended, and {found.launcher} says how"
        return UserError(f"{ended}: mend that and ", *then)
    return error


def _end(launcher: object) -> None:
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(SIGKILL)


def _failed(launcher: object) -> tuple[int, int] | None:
    """Returns the number and the exit code of a process that has failed by itself; None if none has."""
    if not isinstance(launcher, _SubprocessScriptLauncher) or not launcher.procs:
        return None
    ended = time.monotonic() + PATIENCE_S
    while time.monotonic() < ended:
        if (failed := failed_process(launcher.procs)) is not None:
            return failed
        time.sleep(0.05)
    return None
