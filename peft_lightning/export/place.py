"""The folder of an export: made aside, put in its place once it is proved, kept aside where it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.directory import check_can_be_made
from peft_lightning.runs.files import CannotWrite, Mend

_MEND = Mend(
    no_space=("free some, or name another folder with ", Setting("to")),
    refused=("name another folder with ", Setting("to")),
)
REPORT = "export.json"


class Place:
    """The folder that a user names for an export.

    Args:
        folder: The folder; it must not exist, or be empty.

    Raises:
        UserError: It holds something, is a file, or cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UserError(f"{folder} is no folder: name another with ", Setting("to"))
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty, and an export replaces nothing: name another folder with ", _TO)
        try:
            check_can_be_made(folder.absolute().parent)
        except CannotWrite as error:
            raise error.mended(_MEND) from error
        self.partial = folder.with_name(f"{folder.name}.partial")
        self.failed = folder.with_name(f"{folder.name}.failed")

    @contextmanager
    def making(self) -> Iterator[Path]:
        """Makes a folder beside the one that was named, and removes it in the end if it is still there.

        Yields:
            The folder to write to.

        Raises:
            CannotWrite: The disk is full, or the folder cannot be written.
        """
        try:
            self.folder.absolute().parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.partial, ignore_errors=True)  # what a killed export has left
            self.partial.mkdir()
            yield self.partial
        except OSError as error:
            raise CannotWrite.because(error, self.folder).mended(_MEND) from error
        except Exception as error:
            if "os error 28" in str(error):  # safetensors' own error for a full disk
                raise CannotWrite(self.folder, "No space left on device", no_space=True).mended(_MEND) from error
            raise
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)

    def take(self) -> None:
        """Puts the folder in its place, in one step."""
        os.rename(self.partial, self.folder)

    def keep_aside(self) -> Path:
        """Keeps the folder beside its place; an earlier export that failed there is replaced.

        Returns:
            Where it lies.
        """
        aside = self.failed
        number = 2
        while aside.exists() and not (aside / REPORT).is_file():
            aside = self.failed.with_name(f"{self.failed.name}_{number}")
            number += 1
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self.partial, aside)
        return aside


_TO = Setting("to")
