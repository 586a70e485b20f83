"""Paths that a user gives, and the folder of what is kept for the next run: the one place where ``~`` is expanded."""

import os
from pathlib import Path

from peft_lightning.errors import UserError


def given_path(name: str | Path) -> Path:
    """Returns the path of a file or folder that a user names.

    >>> given_path("~nobody-of-this-name/texts.txt")
    PosixPath('~nobody-of-this-name/texts.txt')

    Args:
        name: Its name. ``~`` and ``~user`` at its beginning stand for a home; an unknown user's name stays as it is,
            as in a shell, where ``pathlib`` would raise.
    """
    return Path(os.path.expanduser(name))


def cache_folder() -> Path:
    """Returns ``$XDG_CACHE_HOME/peft_lightning``, or ``~/.cache/peft_lightning``.

    Raises:
        UserError: The home is unknown, as in a container whose user has no name; a folder called ``~`` is not made.
    """
    name = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = given_path(name)
    if folder.parts[:1] and folder.parts[0].startswith("~"):
        raise UserError(f"the home of {folder.parts[0]} is unknown: set XDG_CACHE_HOME to a folder for caches")
    return folder / "peft_lightning"
