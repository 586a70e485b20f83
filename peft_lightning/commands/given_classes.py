"""Classes that a configuration names, such as callbacks and loggers: what one raises is a line that names its setting.

What our own code raises keeps its traceback, which a bug report needs; so does what the user's own code raises in the
middle of a training, which its author needs.
"""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods import Method
from peft_lightning.runs.trackers import Tracker

_SETTINGS: tuple[tuple[type, str], ...] = (
    (Callback, "trainer.callbacks"),
    (Logger, "trainer.logger"),
    (Profiler, "trainer.profiler"),
    (Strategy, "trainer.strategy"),
    (Accelerator, "trainer.accelerator"),
    (Method, "model.method"),
)
_MEND = ": mend its settings or leave it out (--debug shows the traceback)"


class Refused(BaseException):
    """Carries a ``UserError`` through jsonargparse, which takes any other error for another type's turn.

    Args:
        error: The error.
    """

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error


class GivenClasses:
    """Makes the objects of the classes that a configuration names."""

    def __init__(self) -> None:
        self.trackers: list[Tracker] = []

    def make(self, kind: type, *args: Any, **kwargs: Any) -> Any:
        """Makes an object; jsonargparse calls this for every class of the configuration.

        Raises:
            Refused: If a class that is not this program's refuses its arguments.
        """
        if _is_ours(kind):
            return kind(*args, **kwargs)
        try:
            made = kind(*args, **kwargs)
        except UserError as error:
            raise Refused(error) from error
        except Exception as error:
            name = kind.__name__
            if isinstance(error, ImportError):
                raise Refused(
                    UserError(Setting(_setting_of(kind)), f": {name} needs what is not installed: {_words(error)}")
                ) from error
            fact = f": {name} cannot be made ({_words(error)})"
            raise Refused(UserError(Setting(_setting_of(kind)), fact, _MEND)) from error
        if isinstance(made, Logger):
            self.trackers.append(Tracker(made, kwargs))
        return made


def explained(error: BaseException, trainer: Trainer) -> BaseException:
    """Returns the ``UserError`` to raise instead of what the Trainer's loops have raised; other errors as they are.

    Args:
        error: What was raised.
        trainer: The Trainer, whose callbacks, loggers and profiler may be the user's.
    """
    if not isinstance(error, Exception) or isinstance(error, UserError):
        return error
    given = [*trainer.callbacks, *trainer.loggers, trainer.profiler]  # type: ignore[attr-defined]
    owner, hook = _owner(error.__traceback__, given)
    if owner is None:
        return error
    of_settings = isinstance(error, ImportError | MisconfigurationException) or _is_library(type(owner))
    if trainer.global_step > 0 and not of_settings:
        # The code is the user's own, and has run: its author needs the traceback.
        return error
    fact = f": {type(owner).__name__} fails in {hook} ({_words(error)})"
    return UserError(Setting(_setting_of(type(owner))), fact, _MEND)


def _owner(traceback: TracebackType | None, given: list[Any]) -> tuple[Any, str]:
    """Returns the given object in whose code an error arose, and its method; None if that was our own code."""
    owner, hook = None, ""
    for frame in _frames(traceback):
        holder = frame.f_locals.get("self")
        if holder is None:
            continue
        if _is_ours(type(holder)):
            owner = None
        elif any(holder is other for other in given):
            if holder is not owner:
                hook = frame.f_code.co_name
            owner = holder
    return owner, hook


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "peft_lightning"


def _is_library(kind: type) -> bool:
    """Tells whether a class is installed, and not a file of the user's."""
    try:
        file = Path(inspect.getfile(kind)).resolve()
    except (TypeError, OSError):
        return False
    return any(
        file.is_relative_to(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "platlib", "stdlib")
    )


def _setting_of(kind: type) -> str:
    return next((setting for base, setting in _SETTINGS if issubclass(kind, base)), "trainer.plugins")


def _words(error: BaseException) -> str:
    """Returns an error's message in one line; without one, or where it is a bare key, the error's name before it."""
    message = " ".join(str(error).split()).rstrip(".")
    if not message or isinstance(error, LookupError):
        return f"{type(error).__name__} {message}".strip()
    return message
