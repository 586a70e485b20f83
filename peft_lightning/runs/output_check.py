"""Checks before anything is computed that an output can be written, and that it is no input; nothing is changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.files import CannotWrite, Mend, partial_of
from peft_lightning.runs.output_place import OutputPlace


@dataclass(frozen=True)
class OutputCheck:
    """The check of an output that the user or the program names.

    Args:
        place: The output.
        setting: The setting that names it, for messages; empty for a file whose name the program chose.
        mend: What to do if it cannot be written.
    """

    place: OutputPlace
    setting: str
    mend: Mend

    def require(self, inputs: Iterable[Path]) -> None:
        """Refuses an output that cannot be written, or would replace an input.

        Args:
            inputs: Files that the command reads; those that do not exist count as none.

        Raises:
            UserError: If it cannot be written, or would replace an input.
        """
        path = self.place.path
        if not path.strip() or "\0" in path:
            raise self._refused(f"{path!r} names no file")
        descriptor = self.place.descriptor()
        try:
            found = os.stat(path) if descriptor is None else os.fstat(descriptor)
        except FileNotFoundError:
            self._require_new()
            return
        except OSError as error:
            raise self._cannot(error) from error
        for file in inputs:
            with suppress(OSError):
                if os.path.samestat(found, os.stat(file)):
                    raise self._refused(f"{path} is {_also(path, file)}: name another file")
        if descriptor is not None:
            return
        if stat.S_ISDIR(found.st_mode):
            if not self.setting:
                raise self._cannot(OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
            raise self._refused(f"{path} is a folder: name a file in it, {path.rstrip('/')}/FILE")
        if stat.S_ISSOCK(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise self._refused(f"{path} is a {'disk' if stat.S_ISBLK(found.st_mode) else 'socket'}: name a file")
        if not os.access(path, os.W_OK):
            raise self._refused(f"{path} may not be written: make it writable, or name another file")
        if stat.S_ISCHR(found.st_mode):
            self._try_device()
        elif stat.S_ISREG(found.st_mode) and not self.place.in_place():
            self._try_folder()

    def _require_new(self) -> None:
        path, target = self.place.path, self.place.target()
        if not target.parent.is_dir():
            where = Path(path).parent if target == Path(os.path.abspath(path)) else target.parent
            raise self._refused(f"{path}: there is no folder {where}: make it or name another file")
        if path.endswith("/"):
            raise self._refused(f"{path} names a folder: name a file")
        self._try_folder()

    def _try_folder(self) -> None:
        """Writes a block beside the file and removes it: a full disk and a folder that cannot be written are found."""
        trial = partial_of(self.place.target())
        try:
            with trial.open("xb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:  # what a killed process has left here is replaced when there is something to write
            return
        except OSError as error:
            with suppress(OSError):
                trial.unlink()
            raise self._cannot(error) from error
        trial.unlink()

    def _try_device(self) -> None:
        """Writes nothing to a device, which fails where one is full."""
        try:
            descriptor = os.open(self.place.path, os.O_WRONLY | os.O_NOCTTY)
            try:
                os.write(descriptor, b"")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> CannotWrite:
        return CannotWrite.because(error, Path(self.place.path)).mended(self.mend)

    def _refused(self, fact: str) -> UserError:
        return UserError(Setting(self.setting), ": ", fact) if self.setting else UserError(fact)


def _also(path: str, file: Path) -> str:
    """Words why an output is an input, or a file that a run keeps."""
    same = os.path.abspath(path) == os.path.abspath(file)
    return "an input of this command, or a file of the run" if same else f"the same file as {file}"
