"""Errors that a user can put right: they end in one line instead of a traceback.

A ``UserError`` states a fact and its mend. A ``Setting`` in it reads as an argument in Python and as a flag on the
command line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_UNNAMED = object()


class Placeholder(str):
    """A value that the reader fills in, such as ``DIR``; shown without quotes in a Python argument."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Setting:
    """A setting that an error names: an argument to a Python user, a flag to a user of the command line.

    >>> str(Setting("data.max_length", 512)), Setting("data.max_length", 512).as_flag()
    ('max_length=512', '--data.max_length 512')

    >>> Setting("data.n_train", None).as_flag(), Setting("model.method.target_modules", Placeholder("[...]")).as_flag()
    ('--data.n_train null', "--model.method.target_modules '[...]'")

    Args:
        name: Its dotted name in a configuration, such as ``data.max_length``.
        value: The value to use, a scalar; if left out, only the setting is named.
        overlay: The file of settings that the command line recommends instead, such as ``configs/offline.yaml``.
    """

    name: str
    value: object = _UNNAMED
    overlay: str | None = None

    def __str__(self) -> str:
        """Returns the setting as a Python user writes it: an argument."""
        argument = self.name.rpartition(".")[2]
        value = str(self.value) if isinstance(self.value, Path) else self.value
        return argument if value is _UNNAMED else f"{argument}={value!r}"

    def as_flag(self) -> str:
        """Returns the setting as the command line takes it."""
        if self.overlay is not None:
            return f"--config {self.overlay}"
        return f"--{self.name}" if self.value is _UNNAMED else f"--{self.name} {_as_word(self.value)}"


Part = str | Setting


class UserError(Exception):
    """An error that a user can put right: its message is one line that names the thing and the mend.

    >>> error = UserError("a text has 600 tokens, the model takes 512: use ", Setting("data.max_length", 512))
    >>> str(error)
    'a text has 600 tokens, the model takes 512: use max_length=512'
    >>> error.worded(Setting.as_flag)
    'a text has 600 tokens, the model takes 512: use --data.max_length 512'

    Args:
        parts: The message in parts, strings and settings. They are the error's ``args``, so an error that wraps it can
            keep the settings.
    """

    def __init__(self, *parts: Part) -> None:
        super().__init__(*parts)

    def __str__(self) -> str:
        """Returns the message as a Python user reads it."""
        return self.worded(str)

    def worded(self, word: Callable[[Setting], str]) -> str:
        """Returns the message with each setting written by a function.

        Args:
            word: Writes a setting, such as ``Setting.as_flag``.
        """
        return "".join(part if isinstance(part, str) else word(part) for part in self.args)


def _as_word(value: object) -> str:
    """Returns a value as YAML spells it, quoted for a shell."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shlex.quote(str(value))
